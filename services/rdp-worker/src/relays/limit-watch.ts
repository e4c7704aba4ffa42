import type { CloseReason } from '@rap/data-plane-protocol'
import type { RuntimePolicy } from '../sessions/runtime-policy.ts'

/** How long before a limit a person is warned, in seconds; half of a limit that is hardly longer. */
const WARNED_SECONDS = 60

const REASONS = {
  idle_seconds: 'ERR_SESSION_IDLE_LIMIT',
  session_seconds: 'ERR_SESSION_TIME_LIMIT',
} as const satisfies Record<string, CloseReason>

export interface LimitWatchOptions {
  readonly policy: RuntimePolicy
  /** A number that grows with whatever the person does. */
  readonly activity: () => number
  readonly onNear: (limit: keyof typeof REASONS, secondsLeft: number) => void
  readonly onReached: (reason: CloseReason) => void
  /** Length of a second of a limit, in milliseconds; tests shorten it. */
  readonly secondMs: number
}

/** Watches over the times of one bound attachment: idle, and the session's end. */
export class LimitWatch {
  readonly #options: LimitWatchOptions
  #policy: RuntimePolicy
  #timer: NodeJS.Timeout
  #activity: number
  #activeAt = performance.now()
  #warned = new Set<string>()

  constructor(options: LimitWatchOptions) {
    this.#options = options
    this.#policy = options.policy
    this.#activity = options.activity()
    this.#timer = setInterval(() => this.#look(), options.secondMs)
    this.#timer.unref()
  }

  setPolicy(policy: RuntimePolicy): void {
    this.#policy = policy
    this.#warned.clear()
    this.#look()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const { activity, secondMs } = this.#options
    const { limits, endsAt } = this.#policy
    const count = activity()
    if (count !== this.#activity) {
      this.#activity = count
      this.#activeAt = performance.now()
      this.#warned.delete('idle_seconds')
    }
    if (endsAt !== undefined) {
      this.#left('session_seconds', { seconds: (endsAt - Date.now()) / secondMs, warnAt: WARNED_SECONDS })
    }
    if (limits.idle_seconds === null) return
    const idleSeconds = (performance.now() - this.#activeAt) / secondMs
    const warnAt = Math.min(WARNED_SECONDS, limits.idle_seconds / 2)
    this.#left('idle_seconds', { seconds: limits.idle_seconds - idleSeconds, warnAt })
  }

  #left(limit: keyof typeof REASONS, { seconds, warnAt }: { seconds: number; warnAt: number }): void {
    const { onNear, onReached } = this.#options
    if (seconds <= 0) {
      this.stop()
      onReached(REASONS[limit])
    } else if (seconds <= warnAt && !this.#warned.has(limit)) {
      this.#warned.add(limit)
      onNear(limit, Math.ceil(seconds))
    }
  }
}
