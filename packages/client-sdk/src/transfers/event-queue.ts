/** Events of one reader that may wait; beyond it the oldest goes, since newer ones tell the state that counts. */
const MAX_WAITING = 256

/** One reader's events, from the moment that it asked for them. */
export class EventQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #waiting: T[] = []
  readonly #onReturn: (queue: EventQueue<T>) => void
  #readers: ((step: IteratorResult<T, undefined>) => void)[] = []
  #isOver = false

  constructor(onReturn: (queue: EventQueue<T>) => void) {
    this.#onReturn = onReturn
  }

  push(event: T): void {
    if (this.#isOver) return
    const reader = this.#readers.shift()
    if (reader === undefined) this.#waiting.push(event)
    else reader({ done: false, value: event })
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()
  }

  /** What waits is still read; then the reader is done. */
  end(): void {
    this.#isOver = true
    for (const reader of this.#readers) reader({ done: true, value: undefined })
    this.#readers = []
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    const event = this.#waiting.shift()
    if (event !== undefined) return { done: false, value: event }
    if (this.#isOver) return { done: true, value: undefined }
    return await new Promise(resolve => this.#readers.push(resolve))
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#waiting.length = 0
    this.end()
    this.#onReturn(this)
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
