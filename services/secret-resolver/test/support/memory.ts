import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

const CHUNK_BYTES = 16 * 1024 * 1024

/** Every writable byte of another process (Linux): how often each needle is there. */
export function countInMemory(pid: number, needles: readonly Buffer[]): number[] {
  const counts = needles.map(() => 0)
  const overlap = Math.max(...needles.map(({ length }) => length)) - 1
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const chunk = Buffer.alloc(CHUNK_BYTES)
  try {
    for (const { start, end } of writableRanges(pid)) {
      for (let at = start; at < end; at += BigInt(CHUNK_BYTES - overlap)) {
        const size = Number(end - at < BigInt(CHUNK_BYTES) ? end - at : BigInt(CHUNK_BYTES))
        const read = readAt(memory, chunk, at, size)
        needles.forEach((needle, index) => {
          counts[index] = (counts[index] as number) + occurrences(chunk.subarray(0, read), needle)
        })
      }
    }
  } finally {
    closeSync(memory)
  }
  return counts
}

function writableRanges(pid: number): { start: bigint; end: bigint }[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap(line => {
      const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
      // The kernel's own pages cannot be read.
      if (start === undefined || end === undefined || line.includes('[v')) return []
      return [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }]
    })
}

function readAt(file: number, chunk: Buffer, at: bigint, size: number): number {
  try {
    return readSync(file, chunk, 0, size, at as never)
  } catch {
    // A range that has gone meanwhile.
    return 0
  }
}

function occurrences(bytes: Buffer, needle: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + 1)) count += 1
  return count
}
