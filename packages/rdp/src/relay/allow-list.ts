import type { RelayChannel } from './types.ts'

/** A channel that the relay lets through. What is not listed is refused; docs/protocols/channels.md says why. */
export interface AllowedChannel {
  readonly name: string
  /** The channel of the policy without which this one is refused too. */
  readonly needs: RelayChannel
}

/** Static virtual channels, by the name in Client Network Data. */
export const STATIC_CHANNEL_ALLOW_LIST: readonly AllowedChannel[] = [{ name: 'drdynvc', needs: 'display' }]

/** Dynamic virtual channels, by the name in DYNVC_CREATE_REQ. */
export const DYNAMIC_CHANNEL_ALLOW_LIST: readonly AllowedChannel[] = [
  { name: 'Microsoft::Windows::RDS::DisplayControl', needs: 'display' },
]

/** Names are compared to the byte: a name in another case is another name. */
export function isAllowed(list: readonly AllowedChannel[], name: string, channels: ReadonlySet<RelayChannel>): boolean {
  return list.some(channel => channel.name === name && channels.has(channel.needs))
}
