import { CHANNEL_FLAG, type ChannelChunk } from '../channel-pdu.ts'

/** What a chunk has brought; `isBroken`: something was dropped. */
export interface InboxResult {
  /** A whole message; may be a view of the chunk. */
  readonly message?: Uint8Array
  /** The beginning of a message that was longer than the limit, once its end is there. */
  readonly oversizedHead?: Uint8Array
  readonly isBroken?: true
}

interface Arrival {
  readonly length: number
  readonly bytes: Uint8Array
  received: number
}

const NOTHING: InboxResult = {}
const BROKEN: InboxResult = { isBroken: true }
/** Enough of an oversized message to answer it: the header of a request is 24 bytes. */
const HEAD_BYTES = 64

/**
 * Joins the chunks of a channel into messages, and drops what does not fit together.
 *
 * Never throws. INVARIANT: never holds more than `maxBytes`, whatever lengths the headers claim; of a longer message only
 * its first 64 bytes are kept, and the rest is skipped up to its last chunk.
 */
export class MessageInbox {
  readonly #maxBytes: number
  #arrival: Arrival | undefined

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bufferedBytes(): number {
    return this.#arrival?.bytes.length ?? 0
  }

  push({ length, flags, data }: ChannelChunk): InboxResult {
    const isFirst = (flags & CHANNEL_FLAG.FIRST) !== 0
    const isLast = (flags & CHANNEL_FLAG.LAST) !== 0
    // Suspend and resume have no data and belong to no message.
    if (data.length === 0 && !isFirst && !isLast) return NOTHING
    if ((flags & CHANNEL_FLAG.PACKET_COMPRESSED) !== 0) return this.#drop()
    if (isFirst && isLast && length <= this.#maxBytes) {
      const isBroken = this.#arrival !== undefined || data.length !== length
      this.#arrival = undefined
      return { ...(data.length === length && { message: data }), ...(isBroken && BROKEN) }
    }
    return isFirst ? this.#begin(length, data, isLast) : this.#continue(length, data, isLast)
  }

  #begin(length: number, data: Uint8Array, isLast: boolean): InboxResult {
    const isBroken = this.#arrival !== undefined
    this.#arrival = { length, bytes: new Uint8Array(length > this.#maxBytes ? HEAD_BYTES : length), received: 0 }
    const result = this.#continue(length, data, isLast)
    return isBroken ? { ...result, ...BROKEN } : result
  }

  #continue(length: number, data: Uint8Array, isLast: boolean): InboxResult {
    const arrival = this.#arrival
    if (arrival === undefined || arrival.length !== length || arrival.received + data.length > length) {
      return this.#drop()
    }
    const room = Math.max(0, arrival.bytes.length - arrival.received)
    if (room > 0) arrival.bytes.set(data.subarray(0, room), arrival.received)
    arrival.received += data.length
    if (!isLast) return NOTHING
    if (arrival.received !== length) return this.#drop()
    this.#arrival = undefined
    return length > this.#maxBytes ? { oversizedHead: arrival.bytes } : { message: arrival.bytes }
  }

  #drop(): InboxResult {
    this.#arrival = undefined
    return BROKEN
  }
}
