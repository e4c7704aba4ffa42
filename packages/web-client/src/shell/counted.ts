/** `1 row`, `1,200 rows`, nothing for none. */
export function counted(count: number, noun: string): string {
  return count === 0 ? '' : `${count.toLocaleString()} ${noun}${count === 1 ? '' : 's'}`
}
