import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** High nibble of the first byte. Spec: [MS-RDPEDYC] §2.2. */
export const DYNVC = {
  CREATE: 0x1,
  DATA_FIRST: 0x2,
  DATA: 0x3,
  CLOSE: 0x4,
  CAPABILITIES: 0x5,
  DATA_FIRST_COMPRESSED: 0x6,
  DATA_COMPRESSED: 0x7,
  SOFT_SYNC_REQUEST: 0x8,
  SOFT_SYNC_RESPONSE: 0x9,
} as const

/** CreationStatus of a client that has no listener of that name; negative, as every failure. */
export const STATUS_NO_LISTENER = 0xc0000001
/** Bounds a channel name, in bytes without the terminator; the longest in use has under 60. */
const MAX_NAME_BYTES = 255

/** Who sends decides what a Create or a Capabilities PDU is. */
export type DynvcSender = 'client' | 'server'

/** One PDU of the drdynvc channel; data are views. */
export type DynvcPdu =
  /** `priorityCharges` has four numbers from version 2 on, and is empty in version 1 and in every response. */
  | { readonly type: 'capabilities'; readonly version: number; readonly priorityCharges: readonly number[] }
  | {
      readonly type: 'create_request'
      readonly channelId: number
      readonly priority: number
      readonly channelName: string
    }
  /** `creationStatus` is an HRESULT as signed 32-bit number: negative is failure. */
  | { readonly type: 'create_response'; readonly channelId: number; readonly creationStatus: number }
  | {
      readonly type: 'data_first'
      readonly channelId: number
      /** Bytes of the whole message. */
      readonly length: number
      readonly compressed: boolean
      readonly data: Uint8Array
    }
  | { readonly type: 'data'; readonly channelId: number; readonly compressed: boolean; readonly data: Uint8Array }
  | { readonly type: 'close'; readonly channelId: number }
  /** Moves channels to a UDP tunnel; kept unread, as the relay lets none through. */
  | { readonly type: 'soft_sync_request' | 'soft_sync_response'; readonly body: Uint8Array }

/**
 * Takes one whole message of the drdynvc channel.
 *
 * Spec: [MS-RDPEDYC] §2.2. Layout of the first byte: cbId (low 2 bits) · Sp, Pri or Len (2) · Cmd (4).
 * Throws WireError: TRUNCATED, INVALID_FIELD, TOO_LARGE (name), UNEXPECTED_MESSAGE (Cmd), TRAILING_BYTES.
 */
export function decodeDynvcPdu(message: Uint8Array, sender: DynvcSender): DynvcPdu {
  const reader = new Reader(message, 'DYNVC')
  const first = reader.u8('Cmd')
  const cmd = first >> 4
  const sp = (first >> 2) & 0x3
  switch (cmd) {
    case DYNVC.CAPABILITIES:
      return readCapabilities(reader, sender)
    case DYNVC.CREATE: {
      const channelId = readSized(reader, 'ChannelId', first & 0x3)
      if (sender === 'server') {
        return { type: 'create_request', channelId, priority: sp, channelName: readName(reader) }
      }
      const creationStatus = reader.u32le('CreationStatus') | 0
      reader.end()
      return { type: 'create_response', channelId, creationStatus }
    }
    case DYNVC.DATA_FIRST:
    case DYNVC.DATA_FIRST_COMPRESSED: {
      const channelId = readSized(reader, 'ChannelId', first & 0x3)
      const length = readSized(reader, 'Length', sp)
      const data = reader.take(reader.remaining, 'Data')
      return { type: 'data_first', channelId, length, compressed: cmd === DYNVC.DATA_FIRST_COMPRESSED, data }
    }
    case DYNVC.DATA:
    case DYNVC.DATA_COMPRESSED: {
      const channelId = readSized(reader, 'ChannelId', first & 0x3)
      const data = reader.take(reader.remaining, 'Data')
      return { type: 'data', channelId, compressed: cmd === DYNVC.DATA_COMPRESSED, data }
    }
    case DYNVC.CLOSE: {
      const channelId = readSized(reader, 'ChannelId', first & 0x3)
      reader.end()
      return { type: 'close', channelId }
    }
    case DYNVC.SOFT_SYNC_REQUEST:
      return { type: 'soft_sync_request', body: reader.take(reader.remaining, 'body') }
    case DYNVC.SOFT_SYNC_RESPONSE:
      return { type: 'soft_sync_response', body: reader.take(reader.remaining, 'body') }
    default:
      throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'command is not known', {
        structure: 'DYNVC',
        field: 'Cmd',
        received: cmd,
      })
  }
}

/** One whole message of the drdynvc channel. */
export function encodeDynvcPdu(pdu: DynvcPdu): Uint8Array {
  const writer = new Writer(32)
  switch (pdu.type) {
    case 'capabilities':
      writer.u8(DYNVC.CAPABILITIES << 4).u8(0)
      writer.u16le(pdu.version)
      for (const charge of pdu.priorityCharges) writer.u16le(charge)
      break
    case 'create_request':
      writer.u8((DYNVC.CREATE << 4) | (pdu.priority << 2) | widthCode(pdu.channelId))
      writeSized(writer, pdu.channelId).bytes(new TextEncoder().encode(pdu.channelName)).u8(0)
      break
    case 'create_response':
      writer.u8((DYNVC.CREATE << 4) | widthCode(pdu.channelId))
      writeSized(writer, pdu.channelId).u32le(pdu.creationStatus)
      break
    case 'data_first': {
      const cmd = pdu.compressed ? DYNVC.DATA_FIRST_COMPRESSED : DYNVC.DATA_FIRST
      writer.u8((cmd << 4) | (widthCode(pdu.length) << 2) | widthCode(pdu.channelId))
      writeSized(writeSized(writer, pdu.channelId), pdu.length).bytes(pdu.data)
      break
    }
    case 'data':
      writer.u8(((pdu.compressed ? DYNVC.DATA_COMPRESSED : DYNVC.DATA) << 4) | widthCode(pdu.channelId))
      writeSized(writer, pdu.channelId).bytes(pdu.data)
      break
    case 'close':
      writer.u8((DYNVC.CLOSE << 4) | widthCode(pdu.channelId))
      writeSized(writer, pdu.channelId)
      break
    default:
      writer.u8((pdu.type === 'soft_sync_request' ? DYNVC.SOFT_SYNC_REQUEST : DYNVC.SOFT_SYNC_RESPONSE) << 4)
      writer.bytes(pdu.body)
  }
  return writer.finish()
}

function readCapabilities(reader: Reader, sender: DynvcSender): DynvcPdu {
  reader.skip(1, 'Pad')
  const version = reader.u16le('Version')
  const priorityCharges: number[] = []
  if (sender === 'server' && version >= 2) {
    for (let index = 0; index < 4; index++) priorityCharges.push(reader.u16le(`PriorityCharge${index}`))
  }
  reader.end()
  return { type: 'capabilities', version, priorityCharges }
}

/** The name up to its zero; bytes outside printable ASCII show as `?`, so that a name can be logged. */
function readName(reader: Reader): string {
  const rest = reader.take(reader.remaining, 'ChannelName')
  const end = rest.indexOf(0)
  if (end < 0 || end !== rest.length - 1) {
    throw new WireError(end < 0 ? 'ERR_WIRE_TRUNCATED' : 'ERR_WIRE_TRAILING_BYTES', 'name does not end at its zero', {
      structure: 'DYNVC',
      field: 'ChannelName',
      received: rest.length,
    })
  }
  if (end > MAX_NAME_BYTES) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'name is longer than its limit', {
      structure: 'DYNVC',
      field: 'ChannelName',
      received: end,
      expected: MAX_NAME_BYTES,
    })
  }
  return Array.from(rest.subarray(0, end), byte =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?',
  ).join('')
}

/** Width codes 0, 1, 2 stand for 1, 2, 4 bytes. */
function readSized(reader: Reader, field: string, code: number): number {
  if (code === 0) return reader.u8(field)
  if (code === 1) return reader.u16le(field)
  if (code === 2) return reader.u32le(field)
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'width code is 3', { structure: 'DYNVC', field, received: code })
}

function widthCode(value: number): number {
  return value < 0x100 ? 0 : value < 0x10000 ? 1 : 2
}

function writeSized(writer: Writer, value: number): Writer {
  const code = widthCode(value)
  return code === 0 ? writer.u8(value) : code === 1 ? writer.u16le(value) : writer.u32le(value)
}
