/** Something that fails once, for everybody who waits at that time or later. */
export class Ending<E extends Error> {
  readonly #waiting = new Set<() => void>()
  #error: E | undefined

  get error(): E | undefined {
    return this.#error
  }

  fail(error: E): void {
    if (this.#error !== undefined) return
    this.#error = error
    for (const wake of this.#waiting) wake()
  }

  /**
   * Waits for `promise`, but not longer than until the failure, which it then throws. A wait leaves nothing behind: reactions on
   * one long-lived promise would pile up over an upload of gigabytes.
   */
  async or<T>(promise: Promise<T>): Promise<T> {
    const failed = Promise.withResolvers<never>()
    const wake = () => failed.reject(this.#error)
    this.#waiting.add(wake)
    if (this.#error !== undefined) wake()
    try {
      return await Promise.race([promise, failed.promise])
    } finally {
      this.#waiting.delete(wake)
    }
  }
}
