export interface TurnsOptions {
  /** Pieces of work at once. */
  readonly maxRunning: number
  /** Those that wait; one more is refused. */
  readonly maxWaiting: number
  readonly refuse: () => Error
}

/** Lets a bounded number of pieces of work run at once and a bounded number wait; refuses the rest. */
export class Turns {
  readonly #options: TurnsOptions
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    const { maxRunning, maxWaiting, refuse } = this.#options
    if (this.#running >= maxRunning) {
      if (this.#waiting.length >= maxWaiting) throw refuse()
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    } else this.#running += 1
    try {
      return await work()
    } finally {
      // The turn goes straight to the next in line; the count falls only when nobody waits.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
