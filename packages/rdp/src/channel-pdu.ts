import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Spec: [MS-RDPBCGR] §2.2.6.1.1 CHANNEL_PDU_HEADER flags. */
export const CHANNEL_FLAG = {
  FIRST: 0x00000001,
  LAST: 0x00000002,
  SHOW_PROTOCOL: 0x00000010,
  SUSPEND: 0x00000020,
  RESUME: 0x00000040,
  SHADOW_PERSISTENT: 0x00000080,
  PACKET_COMPRESSED: 0x00200000,
  PACKET_AT_FRONT: 0x00400000,
  PACKET_FLUSHED: 0x00800000,
} as const

/** Data bytes of one chunk unless VCChunkSize says more. Spec: [MS-RDPBCGR] §2.2.7.1.10. */
export const CHANNEL_CHUNK_LENGTH = 1600

export interface ChannelChunk {
  /** Bytes of the whole message that this chunk belongs to, without headers. */
  readonly length: number
  readonly flags: number
  readonly data: Uint8Array
}

/**
 * One chunk of a static virtual channel; `data` is a view.
 *
 * Spec: [MS-RDPBCGR] §2.2.6.1 Virtual Channel PDU. Layout: length (4) · flags (4) · data.
 * Throws WireError: TRUNCATED, INVALID_FIELD (more data than the message has).
 */
export function decodeChannelChunk(bytes: Uint8Array): ChannelChunk {
  const reader = new Reader(bytes, 'CHANNEL_PDU_HEADER')
  const length = reader.u32le('length')
  const flags = reader.u32le('flags')
  const data = reader.take(reader.remaining, 'virtualChannelData')
  // A compressed chunk may only be judged by whoever decompresses it.
  if (data.length > length && (flags & CHANNEL_FLAG.PACKET_COMPRESSED) === 0) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'chunk has more data than its message', {
      structure: 'CHANNEL_PDU_HEADER',
      field: 'length',
      received: data.length,
      expected: length,
    })
  }
  return { length, flags, data }
}

/** The same for channels on which a broken chunk is dropped: undefined where it is none. */
export function tryDecodeChannelChunk(bytes: Uint8Array): ChannelChunk | undefined {
  try {
    return decodeChannelChunk(bytes)
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

/** The 8-byte header, and the data is copied behind it. */
export function encodeChannelChunk(chunk: ChannelChunk): Uint8Array {
  return new Writer(8 + chunk.data.length).u32le(chunk.length).u32le(chunk.flags).bytes(chunk.data).finish()
}

/** Splits one message into chunks of at most 1600 data bytes; `flags` beside FIRST and LAST are put on each. */
export function encodeChannelMessage(message: Uint8Array, flags = 0): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let start = 0; start === 0 || start < message.length; start += CHANNEL_CHUNK_LENGTH) {
    const data = message.subarray(start, start + CHANNEL_CHUNK_LENGTH)
    const first = start === 0 ? CHANNEL_FLAG.FIRST : 0
    const last = start + data.length === message.length ? CHANNEL_FLAG.LAST : 0
    chunks.push(encodeChannelChunk({ length: message.length, flags: (flags & ~0x3) | first | last, data }))
  }
  return chunks
}

/**
 * Joins the chunks of one channel and one direction into messages, where chunks that do not fit end the relay.
 *
 * `ChannelInbox` is its counterpart for channels that go on. They stay two: here the first wrong byte is an error with facts, there it is skipped, and
 * a joiner that does both would decide it anew at each step.
 * INVARIANT: never holds more than `maxBytes`, whatever lengths the headers claim.
 * Throws WireError: INVALID_FIELD (chunks that contradict one another), TOO_LARGE, REFUSED (compressed).
 */
export class ChannelReassembler {
  readonly #maxBytes: number
  #message: Uint8Array | undefined
  #received = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bufferedBytes(): number {
    return this.#received
  }

  /** The whole message once its last chunk is there; a view of `chunk.data` when it is one chunk. */
  push(chunk: ChannelChunk): Uint8Array | undefined {
    const { length, flags, data } = chunk
    if ((flags & CHANNEL_FLAG.PACKET_COMPRESSED) !== 0) {
      throw new WireError('ERR_WIRE_REFUSED', 'channel data is compressed', {
        structure: 'CHANNEL_PDU_HEADER',
        field: 'flags',
        received: flags,
      })
    }
    if (length > this.#maxBytes) {
      throw new WireError('ERR_WIRE_TOO_LARGE', 'channel message is larger than its limit', {
        structure: 'CHANNEL_PDU_HEADER',
        field: 'length',
        received: length,
        expected: this.#maxBytes,
      })
    }
    const first = (flags & CHANNEL_FLAG.FIRST) !== 0
    const last = (flags & CHANNEL_FLAG.LAST) !== 0
    if (first !== (this.#message === undefined)) throw contradiction('flags', flags)
    if (first && last) {
      if (data.length !== length) throw contradiction('length', length)
      return data
    }
    this.#message ??= new Uint8Array(length)
    if (this.#message.length !== length || this.#received + data.length > length) throw contradiction('length', length)
    this.#message.set(data, this.#received)
    this.#received += data.length
    if (!last) return undefined
    const message = this.#message
    if (this.#received !== length) throw contradiction('length', length)
    this.#message = undefined
    this.#received = 0
    return message
  }
}

function contradiction(field: string, received: number): WireError {
  return new WireError('ERR_WIRE_INVALID_FIELD', 'chunks of a channel message contradict one another', {
    structure: 'CHANNEL_PDU_HEADER',
    field,
    received,
  })
}
