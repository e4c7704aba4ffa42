import { CHANNEL_FLAG, type ChannelChunk } from '../channel-pdu.ts'
import type { WithheldCode } from './types.ts'

/** Bytes of msgType, by which it is decided whether a message is held. */
const TYPE_BYTES = 2

/** Where the messages of one side go. */
export interface ClipboardMessages {
  /** The longest message of this type that is held, in bytes. */
  room(msgType: number): number
  /** A view of the last chunk or of bytes that nobody else holds. */
  whole(msgType: number, message: Uint8Array): void
  /** A message that does not come whole. `msgType` is undefined where it ended before its type was there. */
  lost(msgType: number | undefined, code: WithheldCode): void
}

/**
 * Joins the chunks of cliprdr, and lets go of what is too long instead of ending the relay.
 *
 * INVARIANT: holds one message at most, and none that is longer than `room` says; of a longer one the chunks are counted up to LAST and not kept.
 */
export class ClipboardAssembly {
  readonly #messages: ClipboardMessages
  readonly #type = new Uint8Array(TYPE_BYTES)
  /** As the chunks of the message under way say it; undefined between messages. */
  #length: number | undefined
  #received = 0
  #held: Uint8Array | undefined

  constructor(messages: ClipboardMessages) {
    this.#messages = messages
  }

  get bufferedBytes(): number {
    return this.#held?.length ?? 0
  }

  push(chunk: ChannelChunk): void {
    const { length, flags, data } = chunk
    // They stop and start the traffic of a channel and carry none themselves.
    if (data.length === 0 && (flags & (CHANNEL_FLAG.SUSPEND | CHANNEL_FLAG.RESUME)) !== 0) return
    const last = (flags & CHANNEL_FLAG.LAST) !== 0
    if ((flags & CHANNEL_FLAG.FIRST) !== 0) {
      if (this.#length !== undefined) this.#give()
      this.#length = length
    }
    if (!this.#fits(chunk)) this.#give()
    else if (last && this.#received === 0 && length >= TYPE_BYTES) this.#single(data)
    else {
      this.#add(data)
      if (last) this.#finish()
    }
  }

  /** `room` has become smaller: lets go of a message that it has none for any more. */
  shrink(): void {
    if (this.#held !== undefined && this.#held.length > this.#messages.room(this.#msgType)) this.#held = undefined
  }

  get #msgType(): number {
    return (this.#type[0] as number) | ((this.#type[1] as number) << 8)
  }

  #fits({ length, flags, data }: ChannelChunk): boolean {
    if (length !== this.#length || (flags & CHANNEL_FLAG.PACKET_COMPRESSED) !== 0) return false
    const received = this.#received + data.length
    return (flags & CHANNEL_FLAG.LAST) === 0 ? received <= length : received === length
  }

  /** The usual case needs no copy. */
  #single(data: Uint8Array): void {
    this.#type.set(data.subarray(0, TYPE_BYTES))
    const msgType = this.#msgType
    this.#reset()
    if (data.length <= this.#messages.room(msgType)) this.#messages.whole(msgType, data)
    else this.#messages.lost(msgType, 'ERR_CLIPBOARD_TOO_LARGE')
  }

  #add(data: Uint8Array): void {
    const before = this.#received
    this.#received += data.length
    if (before < TYPE_BYTES) this.#type.set(data.subarray(0, TYPE_BYTES - before), before)
    if (before < TYPE_BYTES && this.#received >= TYPE_BYTES) this.#hold(this.#length as number)
    this.#held?.set(data, before)
  }

  #hold(length: number): void {
    if (length > this.#messages.room(this.#msgType)) return
    this.#held = new Uint8Array(length)
    this.#held.set(this.#type)
  }

  #finish(): void {
    const held = this.#held
    if (held === undefined) this.#give('ERR_CLIPBOARD_TOO_LARGE')
    else {
      const msgType = this.#msgType
      this.#reset()
      this.#messages.whole(msgType, held)
    }
  }

  #give(code: WithheldCode = 'ERR_CLIPBOARD_MALFORMED'): void {
    const known = this.#received >= TYPE_BYTES
    const msgType = known ? this.#msgType : undefined
    this.#reset()
    this.#messages.lost(msgType, known ? code : 'ERR_CLIPBOARD_MALFORMED')
  }

  #reset(): void {
    this.#length = undefined
    this.#received = 0
    this.#held = undefined
  }
}
