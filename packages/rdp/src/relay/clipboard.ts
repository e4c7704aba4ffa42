import { ChannelInbox, type InboxReader } from '../channel-inbox.ts'
import type { ChannelChunk } from '../channel-pdu.ts'
import { CB_GENERAL, decodeClipboardCapabilities, encodeClipboardCapabilities } from '../cliprdr/capabilities.ts'
import { CF, decodeFormatIds, encodeFormatList, mayHaveShortNames } from '../cliprdr/format-list.ts'
import {
  CB,
  CB_FLAG,
  CLIPRDR_HEADER_BYTES,
  type CliprdrPdu,
  decodeCliprdrPdu,
  decodeFileContentsStreamId,
  decodeFormatDataRequest,
  decodeResponseFlags,
  encodeFileContentsFailure,
  encodeFormatDataRequest,
  encodeFormatDataResponse,
  encodeFormatListResponse,
  encodeMonitorReady,
} from '../cliprdr/pdu.ts'
import { replaceLoneSurrogates, unicodeTextBytes } from '../cliprdr/unicode-text.ts'
import { WireError } from '../errors.ts'
import type { RelayDirection, WithheldCode } from './types.ts'

/** Where a clipboard writes; messages are whole, the port cuts and wraps them. */
export interface ClipboardPort {
  toClient(message: Uint8Array): void
  toServer(message: Uint8Array): void
  /** `direction` is the one that the data would have taken. */
  withheld(direction: RelayDirection, code: WithheldCode): void
  /** A text went through; its size in bytes of UTF-16LE without terminator. */
  passed(direction: RelayDirection, bytes: number): void
}

/** What the clipboard may do. */
export interface ClipboardPolicy {
  readonly clientToServer: boolean
  readonly serverToClient: boolean
  /** Longest text, in bytes of UTF-16LE without terminator. */
  readonly maxBytes: number
}

/** Windows rounds the memory of a text up, so that there may be a little behind the terminator. */
const TEXT_SLACK_BYTES = 64
/** A list has some dozen formats; 64 KiB are more than 1,800 of them. */
const MAX_LIST_BYTES = 65_536
const MAX_CAPABILITIES_BYTES = 1024
const MAX_SMALL_BYTES = 64
const TERMINATOR_BYTES = 2
/** Bytes of msgType, by which it is decided whether a message is kept. */
const TYPE_BYTES = 2
/** CB_CAPS_VERSION_2, the newest there is. */
const MAX_VERSION = 2

/** Formats that stand beside every text and say nothing more than it. */
const TEXT_FORMATS: ReadonlySet<number> = new Set(Object.values(CF))

const LOST_CODES = { broken: 'ERR_CLIPBOARD_MALFORMED', too_large: 'ERR_CLIPBOARD_TOO_LARGE' } as const

/** One side, its clipboard, and what the other side knows of it. */
class Side {
  /** The way that texts of this side take. */
  readonly direction: RelayDirection
  readonly inbox: ChannelInbox
  longNames = false
  /** Its last list had CF_UNICODETEXT. */
  offers = false
  /** The last list that the other side has had. */
  told: 'nothing' | 'empty' | 'text' = 'nothing'
  /** Lists that the other side has yet to answer. */
  unanswered = 0
  /** The other side waits for the text. */
  asked = false
  /** A list has come since the other side asked. */
  renewed = false

  constructor(direction: RelayDirection, reader: (side: Side) => InboxReader) {
    this.direction = direction
    this.inbox = new ChannelInbox(reader(this), TYPE_BYTES)
  }

  restart(): void {
    this.offers = false
    this.told = 'nothing'
    this.unanswered = 0
    this.asked = false
    this.renewed = false
  }
}

/** What becomes of one type of message. */
interface Rule {
  /** The longest one that is held, in bytes; 0: it is never read. */
  readonly room: number
  readonly take?: (clipboard: Clipboard, from: Side, pdu: CliprdrPdu) => void
  /** Was not read. Without it that is told as malformed and nothing else. */
  readonly lost?: (clipboard: Clipboard, from: Side, code: WithheldCode) => void
}

/**
 * The clipboard between client and target: Unicode text on request, in the directions that the policy allows.
 *
 * Spec: [MS-RDPECLIP]; docs/protocols/channels.md says what becomes of each PDU.
 * INVARIANT: every message that leaves is written here. A text leaves only as the answer to a request for it, and a request only for a text that was offered.
 * INVARIANT: what is held is bounded by `maxBytes` and 64 KiB a direction, and no number of messages makes it more.
 */
export class Clipboard {
  static readonly #rules: Readonly<Record<number, Rule>> = {
    [CB.MONITOR_READY]: { room: MAX_SMALL_BYTES, take: (clipboard, from) => clipboard.#monitorReady(from) },
    [CB.FORMAT_LIST]: {
      room: MAX_LIST_BYTES,
      take: (clipboard, from, pdu) => clipboard.#formatList(from, pdu),
      lost: (clipboard, from, code) => clipboard.#formatListLost(from, code),
    },
    [CB.FORMAT_LIST_RESPONSE]: {
      room: MAX_SMALL_BYTES,
      take: (clipboard, from, { msgFlags }) => clipboard.#formatListResponse(from, decodeResponseFlags(msgFlags)),
    },
    [CB.FORMAT_DATA_REQUEST]: {
      room: MAX_SMALL_BYTES,
      take: (clipboard, from, { data }) => clipboard.#formatDataRequest(from, decodeFormatDataRequest(data)),
      lost: (clipboard, from, code) => clipboard.#formatDataRequestLost(from, code),
    },
    [CB.FORMAT_DATA_RESPONSE]: {
      room: MAX_SMALL_BYTES,
      take: (clipboard, from, pdu) => clipboard.#formatDataResponse(from, pdu),
      lost: (clipboard, from, code) => clipboard.#refuseText(from, code),
    },
    // The path of a folder of the client.
    [CB.TEMP_DIRECTORY]: { room: 0, lost: () => {} },
    [CB.CLIP_CAPS]: {
      room: MAX_CAPABILITIES_BYTES,
      take: (clipboard, from, { data }) => clipboard.#capabilities(from, data),
    },
    [CB.FILECONTENTS_REQUEST]: {
      room: MAX_SMALL_BYTES,
      take: (clipboard, from, { data }) => clipboard.#fileContentsRequest(from, decodeFileContentsStreamId(data)),
    },
    [CB.FILECONTENTS_RESPONSE]: {
      room: 0,
      lost: (clipboard, from) => clipboard.#withhold(from, 'ERR_CLIPBOARD_FORMAT'),
    },
    // Locks keep files at hand, and there are none.
    [CB.LOCK_CLIPDATA]: { room: 0, lost: () => {} },
    [CB.UNLOCK_CLIPDATA]: { room: 0, lost: () => {} },
  }

  readonly #port: ClipboardPort
  readonly #client: Side
  readonly #server: Side
  #policy: ClipboardPolicy

  constructor(port: ClipboardPort, policy: ClipboardPolicy) {
    this.#port = port
    this.#policy = policy
    const reader = (side: Side): InboxReader => ({
      room: head => this.#room(side, head),
      whole: message => this.#whole(side, message),
      lost: (head, because) => this.#lost(side, head, LOST_CODES[because]),
    })
    this.#client = new Side('client_to_server', reader)
    this.#server = new Side('server_to_client', reader)
  }

  get bufferedBytes(): number {
    return this.#client.inbox.bufferedBytes + this.#server.inbox.bufferedBytes
  }

  /** Never throws: what is malformed is dropped and told by `withheld`. */
  fromClient(chunk: ChannelChunk): void {
    this.#client.inbox.push(chunk)
  }

  /** As `fromClient`. */
  fromServer(chunk: ChannelChunk): void {
    this.#server.inbox.push(chunk)
  }

  /** Takes effect on what is under way: a text that is not allowed any more is answered with a failure when it ends. */
  setPolicy(policy: ClipboardPolicy): void {
    this.#policy = policy
    this.#client.inbox.shrink()
    this.#server.inbox.shrink()
  }

  #room(from: Side, head: Uint8Array): number {
    const msgType = msgTypeOf(head)
    const expected = msgType === CB.FORMAT_DATA_RESPONSE && from.asked && this.#allows(from)
    if (expected) return CLIPRDR_HEADER_BYTES + this.#policy.maxBytes + TEXT_SLACK_BYTES
    return Clipboard.#rules[msgType]?.room ?? 0
  }

  #whole(from: Side, message: Uint8Array): void {
    try {
      const pdu = decodeCliprdrPdu(message)
      Clipboard.#rules[pdu.msgType]?.take?.(this, from, pdu)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      this.#lost(from, message, 'ERR_CLIPBOARD_MALFORMED')
    }
  }

  /** A message that was not read: whoever waits for an answer to it, or for itself, gets a failure. */
  #lost(from: Side, head: Uint8Array, code: WithheldCode): void {
    const lost = Clipboard.#rules[msgTypeOf(head)]?.lost
    if (lost === undefined) this.#withhold(from, 'ERR_CLIPBOARD_MALFORMED')
    else lost(this, from, code)
  }

  #capabilities(from: Side, data: Uint8Array): void {
    const { version, generalFlags } = decodeClipboardCapabilities(data)
    const kept = generalFlags & CB_GENERAL.USE_LONG_FORMAT_NAMES
    from.longNames = kept !== 0
    const said = { version: version < MAX_VERSION ? 1 : MAX_VERSION, generalFlags: kept }
    this.#send(this.#other(from), encodeClipboardCapabilities(said))
  }

  /** A target that starts its clipboard again has forgotten everything. */
  #monitorReady(from: Side): void {
    if (from === this.#client) {
      this.#withhold(from, 'ERR_CLIPBOARD_MALFORMED')
      return
    }
    if (from.asked) this.#answerNoText(this.#client)
    this.#client.restart()
    this.#server.restart()
    this.#send(this.#client, encodeMonitorReady())
  }

  #formatList(from: Side, { msgFlags, data }: CliprdrPdu): void {
    const other = this.#other(from)
    const names = { long: from.longNames && other.longNames, ascii: (msgFlags & CB_FLAG.ASCII_NAMES) !== 0 }
    const allowed = this.#allows(from)
    // xrdp 0.9 writes long names to a client that has said nothing of itself, such as rdesktop.
    const written = { ...names, long: names.long || !mayHaveShortNames(data.length) }
    from.offers = allowed && this.#offersText(from, decodeFormatIds(data, written))
    from.renewed = true
    if (!allowed && data.length > 0) this.#withhold(from, 'ERR_CLIPBOARD_DIRECTION')
    // Windows sends no list before it has had one, so that one has to come; of what is copied afterwards the other side hears nothing.
    if (!allowed && from.told === 'empty') {
      this.#send(from, encodeFormatListResponse(true))
      return
    }
    from.told = from.offers ? 'text' : 'empty'
    from.unanswered++
    this.#send(other, encodeFormatList(from.offers ? [CF.UNICODETEXT] : [], names))
  }

  #offersText(from: Side, formatIds: Iterable<number>): boolean {
    let offers = false
    let others = false
    for (const id of formatIds) {
      offers ||= id === CF.UNICODETEXT
      others ||= !TEXT_FORMATS.has(id)
    }
    if (others) this.#withhold(from, 'ERR_CLIPBOARD_FORMAT')
    return offers
  }

  #formatListLost(from: Side, code: WithheldCode): void {
    from.offers = false
    this.#withhold(from, code)
    this.#send(from, encodeFormatListResponse(false))
  }

  #formatListResponse(from: Side, ok: boolean): void {
    const owner = this.#other(from)
    if (owner.unanswered === 0) return
    owner.unanswered--
    this.#send(owner, encodeFormatListResponse(ok))
  }

  #formatDataRequest(from: Side, formatId: number): void {
    const owner = this.#other(from)
    const refusal = this.#refusal(owner, formatId)
    if (refusal !== undefined) this.#withhold(owner, refusal)
    if (refusal !== undefined || !owner.offers || (owner.asked && !owner.renewed)) {
      this.#answerNoText(from)
      return
    }
    // A text that was asked for before the last list may never come, and every request has its answer.
    if (owner.asked) this.#answerNoText(from)
    owner.asked = true
    owner.renewed = false
    this.#send(owner, encodeFormatDataRequest(CF.UNICODETEXT))
  }

  #refusal(owner: Side, formatId: number): WithheldCode | undefined {
    if (!this.#allows(owner)) return 'ERR_CLIPBOARD_DIRECTION'
    return formatId === CF.UNICODETEXT ? undefined : 'ERR_CLIPBOARD_FORMAT'
  }

  #formatDataRequestLost(from: Side, code: WithheldCode): void {
    this.#withhold(this.#other(from), code)
    this.#answerNoText(from)
  }

  #formatDataResponse(from: Side, { msgFlags, data }: CliprdrPdu): void {
    const ok = decodeResponseFlags(msgFlags)
    if (!ok) this.#noText(from)
    else if (!from.asked || !this.#allows(from)) this.#refuseText(from, 'ERR_CLIPBOARD_MALFORMED')
    else {
      const bytes = unicodeTextBytes(data)
      if (bytes > this.#policy.maxBytes) this.#refuseText(from, 'ERR_CLIPBOARD_TOO_LARGE')
      else this.#passText(from, data.subarray(0, bytes))
    }
  }

  #passText(from: Side, text: Uint8Array): void {
    from.asked = false
    const data = new Uint8Array(text.length + TERMINATOR_BYTES)
    data.set(text)
    replaceLoneSurrogates(data.subarray(0, text.length))
    this.#send(this.#other(from), encodeFormatDataResponse(true, data))
    this.#port.passed(from.direction, text.length)
  }

  #fileContentsRequest(from: Side, streamId: number): void {
    this.#withhold(this.#other(from), 'ERR_CLIPBOARD_FORMAT')
    this.#send(from, encodeFileContentsFailure(streamId))
  }

  /** A text that does not go on, whether somebody waits for it or not. */
  #refuseText(from: Side, code: WithheldCode): void {
    const wrong = from.asked ? code : 'ERR_CLIPBOARD_MALFORMED'
    this.#withhold(from, this.#allows(from) ? wrong : 'ERR_CLIPBOARD_DIRECTION')
    this.#noText(from)
  }

  /** Tells whoever waits for a text of this side; some clients send a failure before each new list, asked or not. */
  #noText(from: Side): void {
    if (!from.asked) return
    from.asked = false
    this.#answerNoText(this.#other(from))
  }

  /** An empty text goes with the failure: where there is none, xrdp 0.9 and FreeRDP 2 leave the program that pastes waiting for ever. */
  #answerNoText(to: Side): void {
    this.#send(to, encodeFormatDataResponse(false, new Uint8Array(TERMINATOR_BYTES)))
  }

  #allows({ direction }: Side): boolean {
    return direction === 'client_to_server' ? this.#policy.clientToServer : this.#policy.serverToClient
  }

  #other(side: Side): Side {
    return side === this.#client ? this.#server : this.#client
  }

  #withhold({ direction }: Side, code: WithheldCode): void {
    this.#port.withheld(direction, code)
  }

  #send(to: Side, message: Uint8Array): void {
    if (to === this.#client) this.#port.toClient(message)
    else this.#port.toServer(message)
  }
}

/** 0, which no message has, where its type is not there yet. */
function msgTypeOf(head: Uint8Array): number {
  return head.length < TYPE_BYTES ? 0 : new DataView(head.buffer, head.byteOffset).getUint16(0, true)
}
