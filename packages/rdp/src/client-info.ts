import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'
import {
  decodeExtendedInfo,
  encodeExtendedInfo,
  extendedInfoBytes,
  type TsExtendedInfoPacket,
} from './extended-info.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.11.1.1 flags. */
export const INFO = {
  MOUSE: 0x00000001,
  DISABLECTRLALTDEL: 0x00000002,
  AUTOLOGON: 0x00000008,
  UNICODE: 0x00000010,
  MAXIMIZESHELL: 0x00000020,
  LOGONNOTIFY: 0x00000040,
  COMPRESSION: 0x00000080,
  ENABLEWINDOWSKEY: 0x00000100,
  COMPRESSION_TYPE_MASK: 0x00001e00,
  REMOTECONSOLEAUDIO: 0x00002000,
  FORCE_ENCRYPTED_CS_PDU: 0x00004000,
  RAIL: 0x00008000,
  LOGONERRORS: 0x00010000,
  MOUSE_HAS_WHEEL: 0x00020000,
  PASSWORD_IS_SC_PIN: 0x00040000,
  NOAUDIOPLAYBACK: 0x00080000,
  USING_SAVED_CREDS: 0x00100000,
  AUDIOCAPTURE: 0x00200000,
  VIDEO_DISABLE: 0x00400000,
  HIDEF_RAIL_SUPPORTED: 0x02000000,
} as const

/** Bytes of each text field without its terminator. Spec: 512 with the terminator, §2.2.1.11.1.1. */
export const MAX_INFO_TEXT_BYTES = 510

/**
 * Info packet: what a client says at logon. Texts are raw bytes without terminator: UTF-16LE when INFO.UNICODE is
 * set, else in `codePage`.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.11.1.1 TS_INFO_PACKET.
 */
export interface TsInfoPacket {
  readonly codePage: number
  readonly flags: number
  readonly domain: Uint8Array
  readonly userName: Uint8Array
  readonly password: Uint8Array
  readonly alternateShell: Uint8Array
  readonly workingDir: Uint8Array
  readonly extraInfo?: TsExtendedInfoPacket
}

/** Takes what follows the security header. Throws WireError: TRUNCATED, TOO_LARGE, INVALID_FIELD. */
export function decodeInfoPacket(bytes: Uint8Array): TsInfoPacket {
  const reader = new Reader(bytes, 'TS_INFO_PACKET')
  const codePage = reader.u32le('CodePage')
  const flags = reader.u32le('flags')
  const unicode = (flags & INFO.UNICODE) !== 0
  const sizes = {
    domain: readSize(reader, 'cbDomain', unicode),
    userName: readSize(reader, 'cbUserName', unicode),
    password: readSize(reader, 'cbPassword', unicode),
    alternateShell: readSize(reader, 'cbAlternateShell', unicode),
    workingDir: readSize(reader, 'cbWorkingDir', unicode),
  }
  const packet = {
    codePage,
    flags,
    domain: readText(reader, 'Domain', sizes.domain, unicode),
    userName: readText(reader, 'UserName', sizes.userName, unicode),
    password: readText(reader, 'Password', sizes.password, unicode),
    alternateShell: readText(reader, 'AlternateShell', sizes.alternateShell, unicode),
    workingDir: readText(reader, 'WorkingDir', sizes.workingDir, unicode),
  }
  if (reader.remaining === 0) return packet
  return { ...packet, extraInfo: decodeExtendedInfo(reader.take(reader.remaining, 'extraInfo')) }
}

/**
 * INVARIANT: the result is one buffer of its exact size, and nothing else holds a copy of the password: zeroing the
 * result and `packet.password` leaves none behind.
 */
export function encodeInfoPacket(packet: TsInfoPacket): Uint8Array {
  const terminatorBytes = (packet.flags & INFO.UNICODE) === 0 ? 1 : 2
  const texts = [packet.domain, packet.userName, packet.password, packet.alternateShell, packet.workingDir]
  const textBytes = texts.reduce((sum, text) => sum + text.length + terminatorBytes, 0)
  const writer = new Writer(8 + 10 + textBytes + extendedInfoBytes(packet.extraInfo))
  writer.u32le(packet.codePage).u32le(packet.flags)
  for (const text of texts) {
    if (text.length > MAX_INFO_TEXT_BYTES) throw new TypeError('text of an info packet is too long')
    writer.u16le(text.length)
  }
  for (const text of texts) writer.bytes(text).zeros(terminatorBytes)
  if (packet.extraInfo !== undefined) encodeExtendedInfo(writer, packet.extraInfo)
  return writer.finish()
}

function readSize(reader: Reader, field: string, unicode: boolean): number {
  const size = reader.u16le(field)
  // RDP clients differ in whether a full field counts its terminator.
  const limit = MAX_INFO_TEXT_BYTES + 2
  if (size > limit) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'text is longer than the specification allows', {
      structure: 'TS_INFO_PACKET',
      field,
      received: size,
      expected: limit,
    })
  }
  if (unicode && size % 2 !== 0) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'UTF-16 text has an odd size', {
      structure: 'TS_INFO_PACKET',
      field,
      received: size,
    })
  }
  return size
}

function readText(reader: Reader, field: string, size: number, unicode: boolean): Uint8Array {
  const text = reader.take(size, field)
  reader.skip(unicode ? 2 : 1, field)
  return text
}
