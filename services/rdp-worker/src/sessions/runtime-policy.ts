import type { Channel, SessionLimits } from '@rap/session-policy'

/** What an attachment may do now, as the source of truth said last. */
export interface RuntimePolicy {
  readonly channels: readonly Channel[]
  readonly limits: SessionLimits
  /** When the session is over, in milliseconds of the Unix epoch; undefined without a limit. */
  readonly endsAt: number | undefined
}

/** The policy in the control plane's own words. */
export interface PolicyWords {
  readonly allowed_channels: readonly Channel[]
  readonly limits: SessionLimits
  readonly session_ends_at: string | null
}

/** A time that cannot be read is over: nobody gets an endless session by it. */
function endOf(text: string | null): number | undefined {
  if (text === null) return undefined
  const time = Date.parse(text)
  return Number.isNaN(time) ? 0 : time
}

export function policyOf({ allowed_channels, limits, session_ends_at }: PolicyWords): RuntimePolicy {
  return {
    channels: allowed_channels,
    limits,
    endsAt: endOf(session_ends_at),
  }
}

/**
 * The policy from now on. INVARIANT: an attachment never gets a channel that it did not have, whatever the source of truth answers.
 */
export function narrowed(before: RuntimePolicy, after: RuntimePolicy): RuntimePolicy {
  return { ...after, channels: before.channels.filter(channel => after.channels.includes(channel)) }
}

export function isSamePolicy(left: RuntimePolicy, right: RuntimePolicy): boolean {
  return JSON.stringify(left) === JSON.stringify(right)
}
