import { type DynvcPdu, decodeDynvcPdu, encodeDynvcPdu, STATUS_NO_LISTENER } from '../drdynvc.ts'
import { WireError } from '../errors.ts'

/** 64 KiB bounds one message of a dynamic channel, and with it what each side can make the other hold. */
export const MAX_DYNAMIC_MESSAGE_BYTES = 65_536
/** Version 3 would allow compressed data, which we could not look into. */
const MAX_DYNVC_VERSION = 2
const MAX_OPEN_CHANNELS = 16

/** What becomes of one message: at most one goes on, and at most one goes back to where it came from. */
export interface DynamicOutcome {
  readonly forward?: Uint8Array
  readonly answer?: Uint8Array
}

const SWALLOW: DynamicOutcome = {}

/**
 * The allow-list of dynamic virtual channels.
 *
 * INVARIANT: data reach the other side only on a channel that the server asked for by an allowed name and that the
 * client accepted. Throws WireError.
 */
export class DynamicChannels {
  readonly #allows: (name: string) => boolean
  readonly #onRefused: (name: string) => void
  readonly #onSoftSync: () => void
  /** Channel id to whether the client has accepted it. */
  readonly #open = new Map<number, boolean>()
  #offeredVersion = MAX_DYNVC_VERSION

  constructor(allows: (name: string) => boolean, onRefused: (name: string) => void, onSoftSync: () => void) {
    this.#allows = allows
    this.#onRefused = onRefused
    this.#onSoftSync = onSoftSync
  }

  fromServer(message: Uint8Array): DynamicOutcome {
    const pdu = decodeDynvcPdu(message, 'server')
    switch (pdu.type) {
      case 'capabilities':
        this.#offeredVersion = Math.min(pdu.version, MAX_DYNVC_VERSION)
        return pdu.version === this.#offeredVersion
          ? { forward: message }
          : { forward: encodeDynvcPdu({ ...pdu, version: this.#offeredVersion }) }
      case 'create_request':
        return this.#create(pdu, message)
      default:
        return this.#common(pdu, message)
    }
  }

  fromClient(message: Uint8Array): DynamicOutcome {
    const pdu = decodeDynvcPdu(message, 'client')
    switch (pdu.type) {
      case 'capabilities':
        return pdu.version <= this.#offeredVersion
          ? { forward: message }
          : { forward: encodeDynvcPdu({ ...pdu, version: this.#offeredVersion }) }
      case 'create_response':
        // An answer to nothing could open a channel behind our back on a confused server.
        if (this.#open.get(pdu.channelId) !== false) return SWALLOW
        if (pdu.creationStatus >= 0) this.#open.set(pdu.channelId, true)
        else this.#open.delete(pdu.channelId)
        return { forward: message }
      default:
        return this.#common(pdu, message)
    }
  }

  #create(pdu: DynvcPdu & { type: 'create_request' }, message: Uint8Array): DynamicOutcome {
    const { channelId, channelName } = pdu
    // The id may have been in use: whatever it was, it is not that any more.
    this.#open.delete(channelId)
    if (this.#allows(channelName) && this.#open.size < MAX_OPEN_CHANNELS) {
      this.#open.set(channelId, false)
      return { forward: message }
    }
    this.#onRefused(channelName)
    return { answer: encodeDynvcPdu({ type: 'create_response', channelId, creationStatus: STATUS_NO_LISTENER }) }
  }

  #common(pdu: DynvcPdu, message: Uint8Array): DynamicOutcome {
    switch (pdu.type) {
      case 'data_first':
      case 'data':
        if (this.#open.get(pdu.channelId) !== true) return SWALLOW
        if (pdu.compressed) {
          throw new WireError('ERR_WIRE_REFUSED', 'dynamic channel data is compressed', {
            structure: 'DYNVC',
            field: 'Cmd',
          })
        }
        if (pdu.type === 'data_first' && pdu.length > MAX_DYNAMIC_MESSAGE_BYTES) {
          throw new WireError('ERR_WIRE_TOO_LARGE', 'dynamic channel message is larger than its limit', {
            structure: 'DYNVC',
            field: 'Length',
            received: pdu.length,
            expected: MAX_DYNAMIC_MESSAGE_BYTES,
          })
        }
        return { forward: message }
      case 'close':
        return this.#open.delete(pdu.channelId) ? { forward: message } : SWALLOW
      default:
        // Soft-Sync moves channels to a UDP tunnel.
        this.#onSoftSync()
        return SWALLOW
    }
  }
}
