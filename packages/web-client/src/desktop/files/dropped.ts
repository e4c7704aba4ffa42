/** What was dropped, sorted: files can be sent, folders cannot. */
export interface Dropped {
  readonly files: readonly File[]
  readonly folders: readonly string[]
}

/** True for a drag that brings files, rather than text or a link. */
export function bringsFiles(data: DataTransfer | null): boolean {
  return data?.types.includes('Files') === true
}

/** Reads a drop; only while its event is handled, since the browser takes it away afterwards. */
export function droppedOf(data: DataTransfer): Dropped {
  const files: File[] = []
  const folders: string[] = []
  for (const item of data.items) {
    if (item.kind !== 'file') continue
    const entry = item.webkitGetAsEntry()
    const file = item.getAsFile()
    if (entry?.isDirectory) folders.push(entry.name)
    else if (file !== null) files.push(file)
  }
  return { files, folders }
}
