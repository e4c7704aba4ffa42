import { CHANNELS, type Channel, type PolicyDecision } from '@rap/session-policy'

/** What the policy allows by now and the open desktop has not got: it comes with the next connection. */
export function allowedSince({
  channels,
  decision,
}: {
  readonly channels: ReadonlySet<Channel>
  readonly decision: PolicyDecision | undefined
}): Channel[] {
  return CHANNELS.filter(channel => decision?.channels[channel].allowed === true && !channels.has(channel))
}
