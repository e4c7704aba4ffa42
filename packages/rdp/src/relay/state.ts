import { WireError, type WireErrorCode } from '../errors.ts'
import { CHANNEL_OPTION } from '../gcc/client-blocks.ts'
import { encodeSendData } from '../mcs/domain.ts'
import { allowedChannel, DYNAMIC_CHANNEL_ALLOW_LIST } from './allow-list.ts'
import type { ChannelKind } from './channel-kind.ts'
import { ClientIds } from './client-ids.ts'
import type { ServerSettings } from './gcc-patch.ts'
import type { Lane } from './lane.ts'
import type {
  DriveFiles,
  RelayCredentials,
  RelayDirection,
  RelayOptions,
  RelayPolicy,
  RelaySink,
  WithheldCode,
} from './types.ts'

/**
 * How far the connection sequence is. Spec: [MS-RDPBCGR] §1.3.1.1.
 *
 * `settings`: up to MCS Connect Response. `channels`: attach, join, Client Info. `licensing`: up to Demand Active.
 * `capabilities`: up to the first Confirm Active. `active`: from then on, deactivation and reactivation included.
 */
export type Stage = 'settings' | 'channels' | 'licensing' | 'capabilities' | 'active'

export interface RelayChannelState {
  readonly kind: ChannelKind
  readonly name: string
  /** Both sides show the channel's headers to its users: CHANNEL_FLAG_SHOW_PROTOCOL goes with every chunk. */
  readonly showsProtocol: boolean
  joined: boolean
}

/** What the relay has swallowed, for metrics. */
export interface RelayCounters {
  /** PDUs from the client that did not go on, input without the `input` channel among them. */
  droppedFromClient: number
  droppedFromServer: number
  /** Requests for channels that are not on the allow-list. */
  refusedChannels: number
  /** Messages inside a channel that passes that were held back. */
  withheld: number
  /** Clipboard texts that went through, and their bytes. */
  clipboardToServer: number
  clipboardToServerBytes: number
  clipboardToClient: number
  clipboardToClientBytes: number
  /** Bytes of uploads that the target has read. */
  driveReadBytes: number
}

/** A side can invent names without end; we tell of this many of each kind. */
const MAX_REFUSED_NAMES = 64

/** What both directions of one relay share. */
export class RelayState {
  readonly options: RelayOptions
  readonly sink: RelaySink
  readonly counters: RelayCounters = {
    droppedFromClient: 0,
    droppedFromServer: 0,
    refusedChannels: 0,
    withheld: 0,
    clipboardToServer: 0,
    clipboardToServerBytes: 0,
    clipboardToClient: 0,
    clipboardToClientBytes: 0,
    driveReadBytes: 0,
  }
  /** What is in force now; it only ever narrows. */
  policy: RelayPolicy
  /** Grows with every input PDU of the client, forwarded or not. */
  activity = 0
  readonly channels = new Map<number, RelayChannelState>()
  readonly clientIds = new ClientIds()
  stage: Stage = 'settings'
  /** The same as `stage === 'active'`, as the hot path asks for it. */
  active = false
  userId = 0
  skipChannelJoin = false
  clientWantsErrorInfo = false
  /** A Demand Active has gone to the client and waits for its Confirm Active. */
  confirmPending = false
  /** Dropped as soon as they are in the Client Info PDU. */
  credentials: RelayCredentials | undefined
  clientLane: Lane | undefined
  serverLane: Lane | undefined
  readonly #refusedNames = { static: new Set<string>(), dynamic: new Set<string>(), transport: new Set<string>() }

  constructor(options: RelayOptions, sink: RelaySink) {
    // The one reference to the credentials is the field below, so that dropping it drops them.
    this.options = { ...options, credentials: undefined }
    this.policy = options.policy
    this.sink = sink
    this.credentials = options.credentials
  }

  allowsDynamic(name: string): boolean {
    return allowedChannel(DYNAMIC_CHANNEL_ALLOW_LIST, name, this.policy.channels) !== undefined
  }

  /** What the target may find in RAP_Transfers. */
  get drive(): DriveFiles | undefined {
    return this.options.drive
  }

  /** At once, or behind the PDU that is half-way through to the client. */
  toClient(pdu: Uint8Array): void {
    this.serverLane?.inject(pdu)
  }

  /** At once, or behind the PDU that is half-way through to the target. */
  toServer(pdu: Uint8Array): void {
    this.clientLane?.inject(pdu)
  }

  /** Sends on a channel in the client's name. */
  sendToServer(channelId: number, ...parts: readonly Uint8Array[]): void {
    this.toServer(encodeSendData('send_data_request', { initiator: this.userId, channelId }, ...parts))
  }

  refuseChannel(kind: 'static' | 'dynamic' | 'transport', name: string, direction: RelayDirection): void {
    this.counters.refusedChannels++
    const names = this.#refusedNames[kind]
    if (names.has(name) || names.size === MAX_REFUSED_NAMES) return
    names.add(name)
    this.sink.event({ type: 'channel_refused', kind, name, direction })
  }

  /** Counts and tells what is held back inside a channel that passes. */
  withhold(channel: 'cliprdr' | 'rdpdr', direction: RelayDirection, code: WithheldCode): void {
    this.counters.withheld++
    this.sink.event({ type: 'withheld', channel, direction, code })
  }

  addChannels(settings: ServerSettings): void {
    this.skipChannelJoin = settings.skipChannelJoin
    this.#addChannel(settings.ioChannelId, 'io', 'io')
    if (settings.messageChannelId !== undefined) this.#addChannel(settings.messageChannelId, 'message', 'message')
    for (const { id, name, rule, options } of settings.channels) {
      const shows = (options & CHANNEL_OPTION.SHOW_PROTOCOL) !== 0
      this.#addChannel(id, rule?.kind ?? 'refused', name, shows)
    }
    for (const { id, rule } of settings.own) if (id !== 0) this.#addChannel(id, rule.kind, rule.name)
  }

  addUser(userId: number): void {
    this.userId = userId
    this.#addChannel(userId, 'user', 'user')
    if (!this.skipChannelJoin) return
    for (const channel of this.channels.values()) channel.joined = true
  }

  /** The channel `id`, which the client must have joined. Throws WireError REFUSED. */
  joinedChannel(id: number): RelayChannelState {
    const channel = this.channels.get(id)
    if (channel?.joined) return channel
    throw new WireError('ERR_WIRE_REFUSED', 'client sends on a channel that it has not joined', {
      structure: 'SendDataRequest',
      field: 'channelId',
      received: id,
    })
  }

  #addChannel(id: number, kind: ChannelKind, name: string, showsProtocol = false): void {
    if (id < 1001 || this.channels.has(id)) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'channel id is not free', {
        structure: 'DomainMCSPDU',
        field: 'channelId',
        received: id,
      })
    }
    this.channels.set(id, { kind, name, showsProtocol, joined: false })
  }
}

/** A message that does not belong where it came. */
export function unexpected(structure: string, field: string, received?: number): WireError {
  return wireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'message is out of sequence', structure, field, received)
}

/** A message that is well-formed and still goes nowhere. */
export function refused(message: string, structure: string, field: string, received?: number): WireError {
  return wireError('ERR_WIRE_REFUSED', message, structure, field, received)
}

function wireError(
  code: WireErrorCode,
  message: string,
  structure: string,
  field: string,
  received: number | undefined,
): WireError {
  return new WireError(code, message, { structure, field, ...(received !== undefined && { received }) })
}
