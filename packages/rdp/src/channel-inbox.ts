import { CHANNEL_FLAG, type ChannelChunk } from './channel-pdu.ts'

/** Where the messages of one channel and one direction go. */
export interface InboxReader {
  /** The longest message that is kept, in bytes, of those that begin with `head`. Asked again while the message grows. */
  room(head: Uint8Array): number
  /** A view of the chunk, or bytes that nobody else holds. */
  whole(message: Uint8Array): void
  /** A message that does not come, once it has ended or contradicts itself; `head` is the beginning of what there was of it. */
  lost(head: Uint8Array, because: 'broken' | 'too_large'): void
}

/**
 * Joins the chunks of a channel into messages, and lets go of what is too long or does not fit together instead of ending the relay.
 *
 * Never throws by itself. INVARIANT: holds one message at most, none that is longer than `room` says, and never more than twice what has come of it,
 * whatever lengths the headers claim; of a longer message its head is kept, and the rest is counted up to LAST.
 */
export class ChannelInbox {
  readonly #reader: InboxReader
  readonly #headBytes: number
  /** As the chunks of the message under way say it; undefined between messages. */
  #length: number | undefined
  #received = 0
  #kept = new Uint8Array(0)
  #isTooLarge = false

  /** `headBytes`: as much of each message as `room` wants to see. */
  constructor(reader: InboxReader, headBytes: number) {
    this.#reader = reader
    this.#headBytes = headBytes
  }

  get bufferedBytes(): number {
    return this.#kept.length
  }

  push(chunk: ChannelChunk): void {
    const { length, flags, data } = chunk
    // They stop and start the traffic of a channel and carry none themselves.
    if (data.length === 0 && (flags & (CHANNEL_FLAG.SUSPEND | CHANNEL_FLAG.RESUME)) !== 0) return
    const isLast = (flags & CHANNEL_FLAG.LAST) !== 0
    if ((flags & CHANNEL_FLAG.FIRST) !== 0) {
      if (this.#length !== undefined) this.#lose('broken')
      this.#length = length
    }
    if (!this.#fits(chunk)) this.#lose('broken')
    else if (isLast && this.#received === 0) this.#single(data)
    else {
      this.#keep(data)
      if (isLast) this.#end()
    }
  }

  /** `room` has become smaller: lets go of a message that it has none for any more. */
  shrink(): void {
    if (this.#received <= this.#headBytes || this.#isTooLarge) return
    this.#isTooLarge = (this.#length as number) > this.#reader.room(this.#head)
    if (this.#isTooLarge) this.#kept = this.#kept.slice(0, this.#headBytes)
  }

  get #head(): Uint8Array {
    return this.#kept.subarray(0, Math.min(this.#received, this.#headBytes))
  }

  #fits({ length, flags, data }: ChannelChunk): boolean {
    if (length !== this.#length || (flags & CHANNEL_FLAG.PACKET_COMPRESSED) !== 0) return false
    const received = this.#received + data.length
    return (flags & CHANNEL_FLAG.LAST) === 0 ? received <= length : received === length
  }

  /** The usual case needs no copy. */
  #single(data: Uint8Array): void {
    this.#reset()
    const head = data.subarray(0, this.#headBytes)
    if (data.length <= this.#reader.room(head)) this.#reader.whole(data)
    else this.#reader.lost(head, 'too_large')
  }

  #keep(data: Uint8Array): void {
    const start = this.#received
    this.#received += data.length
    this.#copy(data, start, this.#headBytes)
    this.shrink()
    if (!this.#isTooLarge) this.#copy(data, start, this.#received)
  }

  /** Keeps what `data`, which begins at `start` of its message, has in front of `limit`. */
  #copy(data: Uint8Array, start: number, limit: number): void {
    const end = Math.min(this.#received, limit)
    if (start >= end) return
    const { length: size } = this.#kept
    if (end > size) {
      // Grows with what comes: a length is easily claimed.
      const larger = new Uint8Array(Math.min(this.#length as number, Math.max(end, 2 * size)))
      larger.set(this.#kept.subarray(0, start))
      this.#kept = larger
    }
    this.#kept.set(data.subarray(0, end - start), start)
  }

  #end(): void {
    const message = this.#kept
    if (this.#isTooLarge || message.length > this.#reader.room(this.#head)) this.#lose('too_large')
    else {
      this.#reset()
      this.#reader.whole(message)
    }
  }

  #lose(because: 'broken' | 'too_large'): void {
    const head = this.#head
    this.#reset()
    this.#reader.lost(head, because)
  }

  #reset(): void {
    this.#length = undefined
    this.#received = 0
    this.#kept = new Uint8Array(0)
    this.#isTooLarge = false
  }
}
