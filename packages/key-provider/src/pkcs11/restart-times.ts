const FIRST_WAIT_MS = 10_000
const LONGEST_WAIT_MS = 600_000

/**
 * When a library may be restarted for a token that is away: at once, then ever more seldom, because a restart also ends
 * the sessions with every other token of that library.
 */
export class RestartTimes {
  readonly #next = new Map<string, { readonly at: number; readonly waitMs: number }>()

  /** True at most once before each wait is over; milliseconds of a monotonic clock. */
  isDue(tokenLabel: string, now = performance.now()): boolean {
    const known = this.#next.get(tokenLabel)
    if (known !== undefined && now < known.at) return false
    const waitMs = known === undefined ? FIRST_WAIT_MS : Math.min(2 * known.waitMs, LONGEST_WAIT_MS)
    this.#next.set(tokenLabel, { at: now + waitMs, waitMs })
    return true
  }

  succeeded(tokenLabel: string): void {
    this.#next.delete(tokenLabel)
  }
}
