/**
 * What an MCS channel is to the relay. `refused` ids exist between the relay and the client only, `rdpdr` and `rdpsnd` between the relay and the
 * target; nothing is listened to on `rdpsnd`.
 */
export type ChannelKind = 'user' | 'io' | 'message' | 'drdynvc' | 'cliprdr' | 'rdpdr' | 'rdpsnd' | 'refused'

/** True for the channels of the relay, which a client never hears of. */
export function isOwnChannel(kind: ChannelKind): boolean {
  return kind === 'rdpdr' || kind === 'rdpsnd'
}
