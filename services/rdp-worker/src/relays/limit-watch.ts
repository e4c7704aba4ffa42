import type { CloseReason } from '@rap/data-plane-protocol'
import type { RuntimePolicy } from '../sessions/runtime-policy.ts'

/** How long before a limit a person is warned, in seconds; half of a limit that is hardly longer. */
const WARNED_SECONDS = 60

const REASONS = {
  session_seconds: 'ERR_SESSION_TIME_LIMIT',
  idle_seconds: 'ERR_SESSION_IDLE_LIMIT',
} as const satisfies Record<string, CloseReason>
type TimeLimit = keyof typeof REASONS

/** A limit that is about to be reached. */
export interface NearLimit {
  readonly limit: TimeLimit
  readonly secondsLeft: number
}

interface Left {
  readonly limit: TimeLimit
  readonly seconds: number
  readonly isNear: boolean
  /** What the limit is now: another one is worth another warning. */
  readonly value: string
}

export interface LimitWatchOptions {
  readonly policy: RuntimePolicy
  /** A number that grows with whatever the person does. */
  readonly activity: () => number
  /** Told once, until the person has done something or the limit is another one. */
  readonly onNear: (near: NearLimit) => void
  readonly onReached: (reason: CloseReason) => void
  /** Length of a second of a limit, in milliseconds; tests shorten it. */
  readonly secondMs: number
  /** Monotonic clock, in milliseconds. */
  readonly now?: () => number
}

/** Watches over the times of one bound attachment: idle, and the session's end. */
export class LimitWatch {
  readonly #options: LimitWatchOptions
  readonly #now: () => number
  readonly #timer: NodeJS.Timeout
  readonly #warned = new Map<TimeLimit, string>()
  #policy: RuntimePolicy
  #activity: number
  #activeAt: number

  constructor(options: LimitWatchOptions) {
    this.#options = options
    this.#policy = options.policy
    this.#activity = options.activity()
    this.#now = options.now ?? (() => performance.now())
    this.#activeAt = this.#now()
    this.#timer = setInterval(() => this.#look(), options.secondMs)
    this.#timer.unref()
  }

  setPolicy(policy: RuntimePolicy): void {
    this.#policy = policy
    this.#look()
  }

  /** The limits that are near now, for whoever was not there when it was told. */
  near(): NearLimit[] {
    return this.#left().flatMap(left => (left.isNear && left.seconds > 0 ? [nearOf(left)] : []))
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const { onNear, onReached } = this.#options
    const all = this.#left()
    const reached = all.find(({ seconds }) => seconds <= 0)
    if (reached !== undefined) {
      this.stop()
      onReached(REASONS[reached.limit])
      return
    }
    for (const left of all) {
      const { limit, value, isNear } = left
      if (!isNear) this.#warned.delete(limit)
      else if (this.#warned.get(limit) !== value) {
        this.#warned.set(limit, value)
        onNear(nearOf(left))
      }
    }
  }

  #left(): Left[] {
    const { activity, secondMs } = this.#options
    const { limits, endsAt } = this.#policy
    const nowMs = this.#now()
    const count = activity()
    if (count !== this.#activity) {
      this.#activity = count
      this.#activeAt = nowMs
    }
    const all: Left[] = []
    if (endsAt !== undefined) {
      const seconds = (endsAt.overAtMs - nowMs) / secondMs
      all.push({ limit: 'session_seconds', seconds, isNear: seconds <= WARNED_SECONDS, value: endsAt.at })
    }
    const { idle_seconds: idle } = limits
    if (idle !== null) {
      const seconds = idle - (nowMs - this.#activeAt) / secondMs
      const isNear = seconds <= Math.min(WARNED_SECONDS, idle / 2)
      all.push({ limit: 'idle_seconds', seconds, isNear, value: String(idle) })
    }
    return all
  }
}

function nearOf({ limit, seconds }: Left): NearLimit {
  return { limit, secondsLeft: Math.ceil(seconds) }
}
