import type { Channel, SessionLimits } from '@rap/session-policy'

/** When a session is over. */
export interface SessionEnd {
  /** As the source of truth has it (RFC 3339). */
  readonly at: string
  /**
   * The same in milliseconds of `performance.now()`. It is made of the seconds that are left, so that a clock of this machine that is wrong neither ends
   * a session early nor lets it live on.
   */
  readonly overAtMs: number
}

/** What an attachment may do now, as the source of truth said last. */
export interface RuntimePolicy {
  readonly channels: readonly Channel[]
  readonly limits: SessionLimits
  /** Undefined without a limit. */
  readonly endsAt: SessionEnd | undefined
}

/** The policy in the control plane's own words. */
export interface PolicyWords {
  readonly allowed_channels: readonly Channel[]
  readonly limits: SessionLimits
  readonly session_ends_at: string | null
  readonly session_seconds_left: number | null
}

/** A time that cannot be read is over: nobody gets an endless session by it. */
function endOf(at: string, secondsLeft: number | null): SessionEnd {
  const isTime = !Number.isNaN(Date.parse(at)) && Number.isFinite(secondsLeft)
  return { at, overAtMs: isTime ? performance.now() + Number(secondsLeft) * 1000 : 0 }
}

export function policyOf(words: PolicyWords): RuntimePolicy {
  const { allowed_channels: channels, limits, session_ends_at: at, session_seconds_left: secondsLeft } = words
  return { channels, limits, endsAt: at === null ? undefined : endOf(at, secondsLeft) }
}

/**
 * The policy from now on. INVARIANT: an attachment never gets a channel that it did not have, whatever the source of truth answers.
 */
export function narrowed(before: RuntimePolicy, after: RuntimePolicy): RuntimePolicy {
  return { ...after, channels: before.channels.filter(channel => after.channels.includes(channel)) }
}

/** True where both allow the same until the same time; what is left of it is told a little differently each time. */
export function isSamePolicy(left: RuntimePolicy, right: RuntimePolicy): boolean {
  return left.endsAt?.at === right.endsAt?.at && JSON.stringify(said(left)) === JSON.stringify(said(right))
}

function said({ channels, limits }: RuntimePolicy) {
  return [channels, limits]
}
