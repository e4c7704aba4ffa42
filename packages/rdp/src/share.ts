import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Low nibble of pduType. Spec: [MS-RDPBCGR] §2.2.8.1.1.1.1. */
export const PDUTYPE = {
  DEMANDACTIVE: 0x1,
  CONFIRMACTIVE: 0x3,
  DEACTIVATEALL: 0x6,
  DATA: 0x7,
  SERVER_REDIR: 0xa,
} as const

/** Spec: [MS-RDPBCGR] §2.2.8.1.1.1.2 pduType2. */
export const PDUTYPE2 = {
  UPDATE: 0x02,
  CONTROL: 0x14,
  POINTER: 0x1b,
  INPUT: 0x1c,
  SYNCHRONIZE: 0x1f,
  REFRESH_RECT: 0x21,
  PLAY_SOUND: 0x22,
  SUPPRESS_OUTPUT: 0x23,
  SHUTDOWN_REQUEST: 0x24,
  SHUTDOWN_DENIED: 0x25,
  SAVE_SESSION_INFO: 0x26,
  FONTLIST: 0x27,
  FONTMAP: 0x28,
  SET_KEYBOARD_INDICATORS: 0x29,
  BITMAPCACHE_PERSISTENT_LIST: 0x2b,
  BITMAPCACHE_ERROR: 0x2c,
  SET_KEYBOARD_IME_STATUS: 0x2d,
  OFFSCRCACHE_ERROR: 0x2e,
  SET_ERROR_INFO: 0x2f,
  DRAWNINEGRID_ERROR: 0x30,
  DRAWGDIPLUS_ERROR: 0x31,
  ARC_STATUS: 0x32,
  STATUS_INFO: 0x36,
  MONITOR_LAYOUT: 0x37,
  FRAME_ACKNOWLEDGE: 0x38,
} as const

/** compressedType bit that says that the data behind the header is compressed. */
export const PACKET_COMPRESSED = 0x20
/** A totalLength of this value marks a flow control PDU of 8 bytes, from T.128. */
export const FLOW_MARKER = 0x8000
const FLOW_PDU_BYTES = 8
const SHARE_CONTROL_BYTES = 6
export const SHARE_DATA_BYTES = 18
const PROTOCOL_VERSION = 0x10

/** One PDU of the I/O channel. */
export interface SharePdu {
  /** The low nibble; `undefined` for a flow control PDU. */
  readonly pduType: number | undefined
  readonly pduSource: number
  /** Header included, as a view. */
  readonly bytes: Uint8Array
}

/** Spec: [MS-RDPBCGR] §2.2.8.1.1.1.2 TS_SHAREDATAHEADER; `body` is what follows it. */
export interface ShareDataPdu {
  readonly pduSource: number
  readonly shareId: number
  readonly streamId: number
  readonly pduType2: number
  readonly compressedType: number
  readonly body: Uint8Array
}

/**
 * Splits the user data of one MCS message into its share PDUs: servers may put several into one message.
 *
 * Spec: [MS-RDPBCGR] §2.2.8.1.1.1.1 TS_SHARECONTROLHEADER. Layout: totalLength (2, bytes, whole PDU) · pduType (2) ·
 * pduSource (2). Windows XP sends a Deactivate All of 4 bytes without pduSource. Up to 3 bytes behind the last PDU,
 * too few for a header, are no PDU to anyone and are left out.
 * Throws WireError: TRUNCATED, INVALID_FIELD (length).
 */
export function splitSharePdus(userData: Uint8Array): SharePdu[] {
  const pdus: SharePdu[] = []
  let start = 0
  do {
    const reader = new Reader(userData, 'TS_SHARECONTROLHEADER', start)
    const totalLength = reader.u16le('totalLength')
    if (totalLength === FLOW_MARKER) {
      reader.skip(FLOW_PDU_BYTES - 2, 'flow control PDU')
      pdus.push({ pduType: undefined, pduSource: 0, bytes: userData.subarray(start, reader.offset) })
      start = reader.offset
      continue
    }
    const pduType = reader.u16le('pduType') & 0xf
    const short = totalLength === 4 && pduType === PDUTYPE.DEACTIVATEALL
    if (totalLength < SHARE_CONTROL_BYTES && !short) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'length is shorter than its own header', {
        structure: 'TS_SHARECONTROLHEADER',
        field: 'totalLength',
        received: totalLength,
        expected: SHARE_CONTROL_BYTES,
      })
    }
    const pduSource = short ? 0 : reader.u16le('pduSource')
    reader.skip(totalLength - (reader.offset - start), 'pdu')
    pdus.push({ pduType, pduSource, bytes: userData.subarray(start, reader.offset) })
    start = reader.offset
  } while (userData.length - start > 3)
  return pdus
}

/** Whether `userData` begins with a share control header rather than with a security header of the licensing phase. */
export function looksLikeSharePdu(userData: Uint8Array): boolean {
  if (userData.length < 4) return false
  const totalLength = (userData[0] as number) | ((userData[1] as number) << 8)
  const pduType = (userData[2] as number) | ((userData[3] as number) << 8)
  if ((pduType & 0xfff0) !== PROTOCOL_VERSION || totalLength > userData.length) return false
  const type = pduType & 0xf
  return (
    type === PDUTYPE.DEMANDACTIVE ||
    type === PDUTYPE.DEACTIVATEALL ||
    type === PDUTYPE.DATA ||
    type === PDUTYPE.SERVER_REDIR
  )
}

/** Takes a whole share PDU of type DATA. Throws WireError TRUNCATED. */
export function decodeShareData(bytes: Uint8Array): ShareDataPdu {
  const reader = new Reader(bytes, 'TS_SHAREDATAHEADER')
  reader.skip(4, 'totalLength, pduType')
  const pduSource = reader.u16le('pduSource')
  const shareId = reader.u32le('shareId')
  reader.skip(1, 'pad1')
  const streamId = reader.u8('streamId')
  reader.skip(2, 'uncompressedLength')
  const pduType2 = reader.u8('pduType2')
  const compressedType = reader.u8('compressedType')
  reader.skip(2, 'compressedLength')
  return { pduSource, shareId, streamId, pduType2, compressedType, body: reader.take(reader.remaining, 'body') }
}

/** A whole share PDU of type DATA, uncompressed. */
export function encodeShareData(pdu: Omit<ShareDataPdu, 'compressedType'>): Uint8Array {
  const totalLength = SHARE_DATA_BYTES + pdu.body.length
  return new Writer(totalLength)
    .u16le(totalLength)
    .u16le(PROTOCOL_VERSION | PDUTYPE.DATA)
    .u16le(pdu.pduSource)
    .u32le(pdu.shareId)
    .u8(0)
    .u8(pdu.streamId)
    .u16le(pdu.body.length)
    .u8(pdu.pduType2)
    .u8(0)
    .u16le(0)
    .bytes(pdu.body)
    .finish()
}
