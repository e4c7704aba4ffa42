import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'

/** msgType. Spec: [MS-RDPECLIP] §2.2.1 CLIPRDR_HEADER. */
export const CB = {
  MONITOR_READY: 0x0001,
  FORMAT_LIST: 0x0002,
  FORMAT_LIST_RESPONSE: 0x0003,
  FORMAT_DATA_REQUEST: 0x0004,
  FORMAT_DATA_RESPONSE: 0x0005,
  TEMP_DIRECTORY: 0x0006,
  CLIP_CAPS: 0x0007,
  FILECONTENTS_REQUEST: 0x0008,
  FILECONTENTS_RESPONSE: 0x0009,
  LOCK_CLIPDATA: 0x000a,
  UNLOCK_CLIPDATA: 0x000b,
} as const

/** msgFlags. Spec: [MS-RDPECLIP] §2.2.1 CLIPRDR_HEADER. */
export const CB_FLAG = { RESPONSE_OK: 0x0001, RESPONSE_FAIL: 0x0002, ASCII_NAMES: 0x0004 } as const

/** Bytes of CLIPRDR_HEADER. */
export const CLIPRDR_HEADER_BYTES = 8

export interface CliprdrPdu {
  readonly msgType: number
  readonly msgFlags: number
  /** dataLen bytes behind the header; a view. */
  readonly data: Uint8Array
}

/**
 * One whole message of the cliprdr channel.
 *
 * Spec: [MS-RDPECLIP] §2.2.1. Layout: msgType (2) · msgFlags (2) · dataLen (4) · data. What stands behind dataLen bytes is left out: xrdp sends four bytes
 * too many with every message. Throws WireError: TRUNCATED.
 */
export function decodeCliprdrPdu(message: Uint8Array): CliprdrPdu {
  const reader = new Reader(message, 'CLIPRDR_HEADER')
  const msgType = reader.u16le('msgType')
  const msgFlags = reader.u16le('msgFlags')
  const dataLen = reader.u32le('dataLen')
  return { msgType, msgFlags, data: reader.take(dataLen, 'data') }
}

/** The header, and the data is copied behind it. */
export function encodeCliprdrPdu(pdu: CliprdrPdu): Uint8Array {
  return new Writer(CLIPRDR_HEADER_BYTES + pdu.data.length)
    .u16le(pdu.msgType)
    .u16le(pdu.msgFlags)
    .u32le(pdu.data.length)
    .bytes(pdu.data)
    .finish()
}

/**
 * Whether a response says OK. Spec: [MS-RDPECLIP] §2.2.3.2, §2.2.5.2, §2.2.5.4: exactly one of the two flags is set.
 *
 * Throws WireError: INVALID_FIELD (msgFlags).
 */
export function decodeResponseFlags(msgFlags: number): boolean {
  const answer = msgFlags & (CB_FLAG.RESPONSE_OK | CB_FLAG.RESPONSE_FAIL)
  if (answer === CB_FLAG.RESPONSE_OK) return true
  if (answer === CB_FLAG.RESPONSE_FAIL) return false
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'response is neither success nor failure', {
    structure: 'CLIPRDR_HEADER',
    field: 'msgFlags',
    received: msgFlags,
  })
}

/** Spec: [MS-RDPECLIP] §2.2.5.1 Format Data Request PDU. Throws WireError: TRUNCATED. */
export function decodeFormatDataRequest(data: Uint8Array): number {
  return new Reader(data, 'CLIPRDR_FORMAT_DATA_REQUEST').u32le('requestedFormatId')
}

/** Spec: [MS-RDPECLIP] §2.2.5.3 File Contents Request PDU; its streamId alone. Throws WireError: TRUNCATED. */
export function decodeFileContentsStreamId(data: Uint8Array): number {
  return new Reader(data, 'CLIPRDR_FILECONTENTS_REQUEST').u32le('streamId')
}

/** A PDU that is a header alone. Spec: [MS-RDPECLIP] §2.2.2.2 Monitor Ready PDU. */
export function encodeMonitorReady(): Uint8Array {
  return encodeCliprdrPdu({ msgType: CB.MONITOR_READY, msgFlags: 0, data: new Uint8Array(0) })
}

/** Spec: [MS-RDPECLIP] §2.2.3.2 Format List Response PDU. */
export function encodeFormatListResponse(ok: boolean): Uint8Array {
  return encodeCliprdrPdu({ msgType: CB.FORMAT_LIST_RESPONSE, msgFlags: responseFlags(ok), data: new Uint8Array(0) })
}

/** Spec: [MS-RDPECLIP] §2.2.5.1 Format Data Request PDU. */
export function encodeFormatDataRequest(formatId: number): Uint8Array {
  return encodeCliprdrPdu({
    msgType: CB.FORMAT_DATA_REQUEST,
    msgFlags: 0,
    data: new Writer(4).u32le(formatId).finish(),
  })
}

/** Spec: [MS-RDPECLIP] §2.2.5.2 Format Data Response PDU. */
export function encodeFormatDataResponse(ok: boolean, data: Uint8Array): Uint8Array {
  return encodeCliprdrPdu({ msgType: CB.FORMAT_DATA_RESPONSE, msgFlags: responseFlags(ok), data })
}

/** The refusal of a file. Spec: [MS-RDPECLIP] §2.2.5.4 File Contents Response PDU. */
export function encodeFileContentsFailure(streamId: number): Uint8Array {
  const data = new Writer(4).u32le(streamId).finish()
  return encodeCliprdrPdu({ msgType: CB.FILECONTENTS_RESPONSE, msgFlags: CB_FLAG.RESPONSE_FAIL, data })
}

function responseFlags(ok: boolean): number {
  return ok ? CB_FLAG.RESPONSE_OK : CB_FLAG.RESPONSE_FAIL
}
