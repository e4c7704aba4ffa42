import { Reader, type Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.11.1.1.1 performanceFlags. */
export const PERF = {
  DISABLE_WALLPAPER: 0x001,
  DISABLE_FULLWINDOWDRAG: 0x002,
  DISABLE_MENUANIMATIONS: 0x004,
  DISABLE_THEMING: 0x008,
  DISABLE_CURSOR_SHADOW: 0x020,
  DISABLE_CURSORSETTINGS: 0x040,
  ENABLE_FONT_SMOOTHING: 0x080,
  ENABLE_DESKTOP_COMPOSITION: 0x100,
} as const

export const TIME_ZONE_BYTES = 172
export const AUTO_RECONNECT_COOKIE_BYTES = 28
const MAX_ADDRESS_BYTES = 80
const MAX_DIR_BYTES = 512
const MAX_TIME_ZONE_KEY_BYTES = 254

/**
 * Extended info packet. Texts are raw bytes with their terminator; from the time zone on every field is there only if
 * those before it are.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.11.1.1.1 TS_EXTENDED_INFO_PACKET.
 */
export interface TsExtendedInfoPacket {
  /** 2 is AF_INET, 0x17 AF_INET6. */
  readonly clientAddressFamily: number
  readonly clientAddress: Uint8Array
  readonly clientDir: Uint8Array
  /** 172 bytes of TS_TIME_ZONE_INFORMATION. */
  readonly clientTimeZone?: Uint8Array
  readonly clientSessionId?: number
  readonly performanceFlags?: number
  /** Empty or 28 bytes of ARC_CS_PRIVATE_PACKET. */
  readonly autoReconnectCookie?: Uint8Array
  /** Reserved fields and the dynamic time zone, validated and kept as bytes. */
  readonly dynamicTimeZone?: Uint8Array
}

/** Throws WireError: TRUNCATED, TOO_LARGE, INVALID_FIELD (cookie size). Bytes behind the last known field are dropped. */
export function decodeExtendedInfo(bytes: Uint8Array): TsExtendedInfoPacket {
  const reader = new Reader(bytes, 'TS_EXTENDED_INFO_PACKET')
  const info: { -readonly [Field in keyof TsExtendedInfoPacket]: TsExtendedInfoPacket[Field] } = {
    clientAddressFamily: reader.u16le('clientAddressFamily'),
    clientAddress: readSized(reader, 'clientAddress', MAX_ADDRESS_BYTES),
    clientDir: readSized(reader, 'clientDir', MAX_DIR_BYTES),
  }
  if (reader.remaining > 0) info.clientTimeZone = reader.take(TIME_ZONE_BYTES, 'clientTimeZone')
  if (reader.remaining > 0) info.clientSessionId = reader.u32le('clientSessionId')
  if (reader.remaining > 0) info.performanceFlags = reader.u32le('performanceFlags')
  if (reader.remaining > 0) {
    const cookie = readSized(reader, 'autoReconnectCookie', AUTO_RECONNECT_COOKIE_BYTES)
    if (cookie.length !== 0 && cookie.length !== AUTO_RECONNECT_COOKIE_BYTES) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'cookie has another size', {
        structure: 'TS_EXTENDED_INFO_PACKET',
        field: 'cbAutoReconnectCookie',
        received: cookie.length,
        expected: AUTO_RECONNECT_COOKIE_BYTES,
      })
    }
    info.autoReconnectCookie = cookie
  }
  if (reader.remaining > 0) info.dynamicTimeZone = readDynamicTimeZone(reader)
  return info
}

export function extendedInfoBytes(info: TsExtendedInfoPacket | undefined): number {
  if (info === undefined) return 0
  return (
    6 + // clientAddressFamily, cbClientAddress, cbClientDir
    info.clientAddress.length +
    info.clientDir.length +
    (info.clientTimeZone?.length ?? 0) +
    (info.clientSessionId === undefined ? 0 : 4) +
    (info.performanceFlags === undefined ? 0 : 4) +
    (info.autoReconnectCookie === undefined ? 0 : 2 + info.autoReconnectCookie.length) +
    (info.dynamicTimeZone?.length ?? 0)
  )
}

/** The caller leaves no gap: a field is given only together with all those before it. */
export function encodeExtendedInfo(writer: Writer, info: TsExtendedInfoPacket): void {
  writer.u16le(info.clientAddressFamily)
  writer.u16le(info.clientAddress.length).bytes(info.clientAddress)
  writer.u16le(info.clientDir.length).bytes(info.clientDir)
  if (info.clientTimeZone !== undefined) writer.bytes(info.clientTimeZone)
  if (info.clientSessionId !== undefined) writer.u32le(info.clientSessionId)
  if (info.performanceFlags !== undefined) writer.u32le(info.performanceFlags)
  if (info.autoReconnectCookie !== undefined) {
    writer.u16le(info.autoReconnectCookie.length).bytes(info.autoReconnectCookie)
  }
  if (info.dynamicTimeZone !== undefined) writer.bytes(info.dynamicTimeZone)
}

/** reserved1 (2) · reserved2 (2) · cbDynamicDSTTimeZoneKeyName (2) · name · dynamicDaylightTimeDisabled (2). */
function readDynamicTimeZone(reader: Reader): Uint8Array {
  const start = reader.offset
  reader.skip(2, 'reserved1')
  if (reader.remaining > 0) reader.skip(2, 'reserved2')
  if (reader.remaining > 0) readSized(reader, 'dynamicDSTTimeZoneKeyName', MAX_TIME_ZONE_KEY_BYTES)
  if (reader.remaining > 0) reader.skip(2, 'dynamicDaylightTimeDisabled')
  return reader.bytes.subarray(start, reader.offset)
}

function readSized(reader: Reader, field: string, limit: number): Uint8Array {
  const size = reader.u16le(`cb ${field}`)
  if (size > limit) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'field is longer than the specification allows', {
      structure: reader.structure,
      field,
      received: size,
      expected: limit,
    })
  }
  return reader.take(size, field)
}
