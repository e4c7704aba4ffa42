import { Reader, Writer } from '../cursor.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.3.2 earlyCapabilityFlags. */
export const EARLY_CAPABILITY = {
  SUPPORT_ERRINFO_PDU: 0x0001,
  WANT_32BPP_SESSION: 0x0002,
  SUPPORT_STATUSINFO_PDU: 0x0004,
  STRONG_ASYMMETRIC_KEYS: 0x0008,
  RELATIVE_MOUSE_INPUT: 0x0010,
  VALID_CONNECTION_TYPE: 0x0020,
  SUPPORT_MONITOR_LAYOUT_PDU: 0x0040,
  SUPPORT_NETCHAR_AUTODETECT: 0x0080,
  SUPPORT_DYNVC_GFX_PROTOCOL: 0x0100,
  SUPPORT_DYNAMIC_TIME_ZONE: 0x0200,
  SUPPORT_HEARTBEAT_PDU: 0x0400,
  SUPPORT_SKIP_CHANNELJOIN: 0x0800,
} as const

/** Spec: [MS-RDPBCGR] §2.2.1.3.2 highColorDepth and supportedColorDepths. */
export const HIGH_COLOR_24BPP = 24
export const RNS_UD_32BPP_SUPPORT = 0x0008

/** Fields up to imeFileName, which every client sends. */
const FIXED_BYTES = 128

/**
 * Client Core Data. The optional fields follow one another: each one is there only if those before it are.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.3.2 TS_UD_CS_CORE.
 */
export interface ClientCoreData {
  readonly version: number
  /** Pixels. */
  readonly desktopWidth: number
  readonly desktopHeight: number
  readonly colorDepth: number
  readonly sasSequence: number
  readonly keyboardLayout: number
  readonly clientBuild: number
  /** 32 bytes of UTF-16LE, zero-padded. */
  readonly clientName: Uint8Array
  readonly keyboardType: number
  readonly keyboardSubType: number
  readonly keyboardFunctionKey: number
  /** 64 bytes of UTF-16LE, zero-padded. */
  readonly imeFileName: Uint8Array
  readonly postBeta2ColorDepth?: number
  readonly clientProductId?: number
  readonly serialNumber?: number
  readonly highColorDepth?: number
  readonly supportedColorDepths?: number
  readonly earlyCapabilityFlags?: number
  /** 64 bytes of UTF-16LE, zero-padded. */
  readonly clientDigProductId?: Uint8Array
  readonly connectionType?: number
  readonly serverSelectedProtocol?: number
  /** Physical sizes and scale factors, and whatever later versions put behind them, as they came. */
  readonly rest?: Uint8Array
}

/** Takes the block without its header. Throws WireError TRUNCATED. */
export function decodeClientCoreData(data: Uint8Array): ClientCoreData {
  const reader = new Reader(data, 'TS_UD_CS_CORE')
  const core: { -readonly [Field in keyof ClientCoreData]: ClientCoreData[Field] } = {
    version: reader.u32le('version'),
    desktopWidth: reader.u16le('desktopWidth'),
    desktopHeight: reader.u16le('desktopHeight'),
    colorDepth: reader.u16le('colorDepth'),
    sasSequence: reader.u16le('SASSequence'),
    keyboardLayout: reader.u32le('keyboardLayout'),
    clientBuild: reader.u32le('clientBuild'),
    clientName: reader.take(32, 'clientName'),
    keyboardType: reader.u32le('keyboardType'),
    keyboardSubType: reader.u32le('keyboardSubType'),
    keyboardFunctionKey: reader.u32le('keyboardFunctionKey'),
    imeFileName: reader.take(64, 'imeFileName'),
  }
  if (reader.remaining > 0) core.postBeta2ColorDepth = reader.u16le('postBeta2ColorDepth')
  if (reader.remaining > 0) core.clientProductId = reader.u16le('clientProductId')
  if (reader.remaining > 0) core.serialNumber = reader.u32le('serialNumber')
  if (reader.remaining > 0) core.highColorDepth = reader.u16le('highColorDepth')
  if (reader.remaining > 0) core.supportedColorDepths = reader.u16le('supportedColorDepths')
  if (reader.remaining > 0) core.earlyCapabilityFlags = reader.u16le('earlyCapabilityFlags')
  if (reader.remaining > 0) core.clientDigProductId = reader.take(64, 'clientDigProductId')
  if (reader.remaining > 0) {
    core.connectionType = reader.u8('connectionType')
    reader.skip(1, 'pad1octet')
  }
  if (reader.remaining > 0) core.serverSelectedProtocol = reader.u32le('serverSelectedProtocol')
  if (reader.remaining > 0) core.rest = reader.take(reader.remaining, 'rest')
  return core
}

/** Optional fields that are missing in front of one that is there are written as zero. */
export function encodeClientCoreData(core: ClientCoreData): Uint8Array {
  const writer = new Writer(FIXED_BYTES + 96 + (core.rest?.length ?? 0))
  writer.u32le(core.version).u16le(core.desktopWidth).u16le(core.desktopHeight)
  writer.u16le(core.colorDepth).u16le(core.sasSequence).u32le(core.keyboardLayout).u32le(core.clientBuild)
  writer.bytes(sized(core.clientName, 32)).u32le(core.keyboardType).u32le(core.keyboardSubType)
  writer.u32le(core.keyboardFunctionKey).bytes(sized(core.imeFileName, 64))
  const optional: readonly [present: boolean, write: () => void][] = [
    [core.postBeta2ColorDepth !== undefined, () => writer.u16le(core.postBeta2ColorDepth ?? 0)],
    [core.clientProductId !== undefined, () => writer.u16le(core.clientProductId ?? 0)],
    [core.serialNumber !== undefined, () => writer.u32le(core.serialNumber ?? 0)],
    [core.highColorDepth !== undefined, () => writer.u16le(core.highColorDepth ?? 0)],
    [core.supportedColorDepths !== undefined, () => writer.u16le(core.supportedColorDepths ?? 0)],
    [core.earlyCapabilityFlags !== undefined, () => writer.u16le(core.earlyCapabilityFlags ?? 0)],
    [
      core.clientDigProductId !== undefined,
      () => writer.bytes(sized(core.clientDigProductId ?? new Uint8Array(64), 64)),
    ],
    [core.connectionType !== undefined, () => writer.u8(core.connectionType ?? 0).u8(0)],
    [core.serverSelectedProtocol !== undefined, () => writer.u32le(core.serverSelectedProtocol ?? 0)],
    [core.rest !== undefined, () => writer.bytes(core.rest ?? new Uint8Array())],
  ]
  const last = optional.findLastIndex(([present]) => present)
  for (const [, write] of optional.slice(0, last + 1)) write()
  return writer.finish()
}

function sized(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length !== size) throw new TypeError(`field is not ${size} bytes`)
  return bytes
}
