import type { Channel } from '@rap/session-policy'
import type { ChannelKind } from './channel-kind.ts'

/** A static virtual channel that reaches the target, and what the relay is to it. What is not listed is refused. */
export interface StaticChannel {
  readonly name: string
  readonly kind: Extract<ChannelKind, 'drdynvc' | 'cliprdr' | 'rdpdr' | 'rdpsnd'>
  /** Any of these channels of the policy opens it. */
  readonly needs: readonly Channel[]
  /** `relay`: the relay asks the target for it by itself and is its client; a client that asks for it is refused. */
  readonly by: 'client' | 'relay'
}

/** Static virtual channels, by the name in Client Network Data; docs/protocols/channels.md says why. */
export const STATIC_CHANNEL_ALLOW_LIST: readonly StaticChannel[] = [
  { name: 'drdynvc', kind: 'drdynvc', needs: ['display'], by: 'client' },
  {
    name: 'cliprdr',
    kind: 'cliprdr',
    needs: ['clipboard_client_to_server', 'clipboard_server_to_client'],
    by: 'client',
  },
  { name: 'rdpdr', kind: 'rdpdr', needs: ['file_upload'], by: 'relay' },
  { name: 'rdpsnd', kind: 'rdpsnd', needs: ['file_upload'], by: 'relay' },
]

/** A dynamic virtual channel that the relay lets through. */
export interface DynamicChannel {
  readonly name: string
  readonly needs: readonly Channel[]
}

/** Dynamic virtual channels, by the name in DYNVC_CREATE_REQ. */
export const DYNAMIC_CHANNEL_ALLOW_LIST: readonly DynamicChannel[] = [
  { name: 'Microsoft::Windows::RDS::DisplayControl', needs: ['display'] },
]

/** The entry for a name under a policy. Names are compared to the byte: a name in another case is another name. */
export function allowedChannel<Entry extends DynamicChannel>(
  list: readonly Entry[],
  name: string,
  channels: ReadonlySet<Channel>,
): Entry | undefined {
  return list.find(entry => entry.name === name && entry.needs.some(need => channels.has(need)))
}
