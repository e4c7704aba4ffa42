/** A file's name as the page shows it: without what turns the direction of the text, so that `exe.txt` is not the end of a `txt.exe`. */
export function shownName(name: string): string {
  return name.replaceAll(/\p{Bidi_Control}/gu, '')
}
