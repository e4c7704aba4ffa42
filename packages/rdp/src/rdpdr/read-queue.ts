import type { IoRequestHeader } from './io-request.ts'

export interface PendingRead {
  readonly header: IoRequestHeader
  readonly offset: bigint
  readonly length: number
}

/** Reads that wait: those of one open file in order, and the files in turn. */
export class ReadQueue {
  readonly #byFile = new Map<number, PendingRead[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(read: PendingRead): void {
    const { fileId } = read.header
    const reads = this.#byFile.get(fileId)
    if (reads === undefined) this.#byFile.set(fileId, [read])
    else reads.push(read)
    this.#size++
  }

  /** The next read; its file goes to the end of the row. */
  next(): PendingRead | undefined {
    const [turn] = this.#byFile
    if (turn === undefined) return undefined
    const [fileId, reads] = turn
    const read = reads.shift()
    this.#byFile.delete(fileId)
    if (reads.length > 0) this.#byFile.set(fileId, reads)
    this.#size--
    return read
  }

  /** Takes out the reads of one open file. */
  take(fileId: number): readonly PendingRead[] {
    const reads = this.#byFile.get(fileId) ?? []
    this.#byFile.delete(fileId)
    this.#size -= reads.length
    return reads
  }

  /** Takes out all. */
  takeAll(): readonly PendingRead[] {
    const reads = [...this.#byFile.values()].flat()
    this.#byFile.clear()
    this.#size = 0
    return reads
  }
}
