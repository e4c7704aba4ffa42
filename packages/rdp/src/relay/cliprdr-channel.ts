import { tryDecodeChannelChunk } from '../channel-pdu.ts'
import { type ChannelPacket, type ChannelPlace, encodeChannelPackets } from './channel-packet.ts'
import { Clipboard, type ClipboardPolicy } from './clipboard.ts'
import type { RelayState } from './state.ts'
import type { RelayDirection, RelayPolicy } from './types.ts'

/** The cliprdr channel between client and target, with `Clipboard` in its middle. */
export class CliprdrChannel {
  readonly #state: RelayState
  readonly #clipboard: Clipboard
  /** The channel as the target calls it. */
  #place: Omit<ChannelPlace, 'initiator'> = { channelId: 0, showsProtocol: false }

  constructor(state: RelayState) {
    this.#state = state
    const { counters } = state
    this.#clipboard = new Clipboard(
      {
        toClient: message => {
          const channelId = state.clientIds.called(this.#place.channelId)
          // Of the client's own user, as FreeRDP's server and xrdp say it: IronRDP answers in the name of whom it heard. A number that the target
          // chooses anew with each PDU would be a way to the client that no policy covers.
          const place = { ...this.#place, initiator: state.userId, channelId }
          state.toClient(encodeChannelPackets('send_data_indication', place, message))
        },
        toServer: message =>
          state.toServer(
            encodeChannelPackets('send_data_request', { ...this.#place, initiator: state.userId }, message),
          ),
        withheld: (direction, code) => state.withhold('cliprdr', direction, code),
        passed: (direction, bytes) => {
          if (direction === 'client_to_server') {
            counters.clipboardToServer++
            counters.clipboardToServerBytes += bytes
          } else {
            counters.clipboardToClient++
            counters.clipboardToClientBytes += bytes
          }
        },
      },
      clipboardPolicyOf(state.policy),
    )
  }

  get bufferedBytes(): number {
    return this.#clipboard.bufferedBytes
  }

  push(direction: RelayDirection, { channelId, userData, showsProtocol }: ChannelPacket): void {
    this.#place = { channelId, showsProtocol }
    const chunk = tryDecodeChannelChunk(userData)
    if (chunk === undefined) this.#state.withhold('cliprdr', direction, 'ERR_CLIPBOARD_MALFORMED')
    else if (direction === 'server_to_client') this.#clipboard.fromServer(chunk)
    else this.#clipboard.fromClient(chunk)
  }

  policyChanged(): void {
    this.#clipboard.setPolicy(clipboardPolicyOf(this.#state.policy))
  }
}

function clipboardPolicyOf({ channels, clipboardBytes }: RelayPolicy): ClipboardPolicy {
  return {
    clientToServer: channels.has('clipboard_client_to_server'),
    serverToClient: channels.has('clipboard_server_to_client'),
    maxBytes: clipboardBytes,
  }
}
