import { setTimeout as pause } from 'node:timers/promises'

export interface PacedAttemptsOptions {
  /** One attempt. It tells its outcome elsewhere, and never rejects. */
  readonly attempt: () => Promise<void>
  /** Least time between the end of one attempt and the next, in milliseconds. */
  readonly pauseMs: number
  /** Milliseconds of a monotonic clock. */
  readonly now?: (() => number) | undefined
}

/**
 * One thing that many ask for: attempts never overlap and never follow each other sooner than `pauseMs`.
 *
 * Whoever comes within the pause waits for the end of it and is not turned away, so that a flood of questions costs one attempt each
 * `pauseMs` and delays nobody for longer.
 */
export class PacedAttempts {
  readonly #options: PacedAttemptsOptions
  readonly #now: () => number
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #notBefore = Number.NEGATIVE_INFINITY
  #begun = 0

  constructor(options: PacedAttemptsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** How many attempts have begun. */
  get begun(): number {
    return this.#begun
  }

  /** Settles with the attempt that is under way, or the next one. */
  any(): Promise<void> {
    return this.#running ?? this.fresh()
  }

  /** Settles with an attempt that begins from now on. */
  fresh(): Promise<void> {
    this.#next ??= this.#follow()
    return this.#next
  }

  async #follow(): Promise<void> {
    await this.#running
    const left = this.#notBefore - this.#now()
    if (left > 0) await pause(left)
    this.#begun += 1
    this.#running = this.#options.attempt().finally(() => {
      this.#running = undefined
      this.#notBefore = this.#now() + this.#options.pauseMs
    })
    this.#next = undefined
    await this.#running
  }
}
