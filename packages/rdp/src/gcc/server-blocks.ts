import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'
import { MAX_STATIC_CHANNELS } from './client-blocks.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.4.2 earlyCapabilityFlags. */
export const SERVER_EARLY_CAPABILITY = {
  EDGE_ACTIONS_SUPPORTED_V1: 0x1,
  DYNAMIC_DST_SUPPORTED: 0x2,
  EDGE_ACTIONS_SUPPORTED_V2: 0x4,
  SKIP_CHANNELJOIN_SUPPORTED: 0x8,
} as const

/** Server Core Data. Spec: [MS-RDPBCGR] §2.2.1.4.2 TS_UD_SC_CORE. */
export interface ServerCoreData {
  readonly version: number
  /** What the server says that the client asked for in its X.224 request. */
  readonly clientRequestedProtocols?: number
  readonly earlyCapabilityFlags?: number
}

/** Server Security Data. Spec: [MS-RDPBCGR] §2.2.1.4.3 TS_UD_SC_SEC1. Both zero under TLS. */
export interface ServerSecurityData {
  readonly encryptionMethod: number
  readonly encryptionLevel: number
  /** Server random and certificate of Standard RDP Security; there only when the method is not zero. */
  readonly rest?: Uint8Array
}

/** Server Network Data. Spec: [MS-RDPBCGR] §2.2.1.4.4 TS_UD_SC_NET. */
export interface ServerNetworkData {
  /** The I/O channel. */
  readonly mcsChannelId: number
  /** One id for each requested channel, in the order of the request; 0 is a channel that could not be made. */
  readonly channelIds: readonly number[]
}

/** Takes the block without its header, as do all decoders here. Throws WireError: TRUNCATED, TRAILING_BYTES. */
export function decodeServerCoreData(data: Uint8Array): ServerCoreData {
  const reader = new Reader(data, 'TS_UD_SC_CORE')
  const version = reader.u32le('version')
  if (reader.remaining === 0) return { version }
  const clientRequestedProtocols = reader.u32le('clientRequestedProtocols')
  if (reader.remaining === 0) return { version, clientRequestedProtocols }
  const earlyCapabilityFlags = reader.u32le('earlyCapabilityFlags')
  reader.end()
  return { version, clientRequestedProtocols, earlyCapabilityFlags }
}

export function encodeServerCoreData(core: ServerCoreData): Uint8Array {
  const writer = new Writer(12).u32le(core.version)
  if (core.clientRequestedProtocols !== undefined || core.earlyCapabilityFlags !== undefined) {
    writer.u32le(core.clientRequestedProtocols ?? 0)
  }
  if (core.earlyCapabilityFlags !== undefined) writer.u32le(core.earlyCapabilityFlags)
  return writer.finish()
}

/** Throws WireError TRUNCATED. */
export function decodeServerSecurityData(data: Uint8Array): ServerSecurityData {
  const reader = new Reader(data, 'TS_UD_SC_SEC1')
  const encryptionMethod = reader.u32le('encryptionMethod')
  const encryptionLevel = reader.u32le('encryptionLevel')
  if (reader.remaining === 0) return { encryptionMethod, encryptionLevel }
  return { encryptionMethod, encryptionLevel, rest: reader.take(reader.remaining, 'rest') }
}

export function encodeServerSecurityData(security: ServerSecurityData): Uint8Array {
  return new Writer(8)
    .u32le(security.encryptionMethod)
    .u32le(security.encryptionLevel)
    .bytes(security.rest ?? new Uint8Array())
    .finish()
}

/** Throws WireError: TRUNCATED, TOO_LARGE (more than 31 channels), TRAILING_BYTES. */
export function decodeServerNetworkData(data: Uint8Array): ServerNetworkData {
  const reader = new Reader(data, 'TS_UD_SC_NET')
  const mcsChannelId = reader.u16le('MCSChannelId')
  const count = reader.u16le('channelCount')
  if (count > MAX_STATIC_CHANNELS) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'list is longer than the specification allows', {
      structure: 'TS_UD_SC_NET',
      field: 'channelCount',
      received: count,
      expected: MAX_STATIC_CHANNELS,
    })
  }
  const channelIds: number[] = []
  for (let index = 0; index < count; index++) channelIds.push(reader.u16le('channelIdArray'))
  // An odd count is padded to four bytes; some servers leave the padding out.
  if (count % 2 === 1 && reader.remaining > 0) reader.skip(2, 'Pad')
  reader.end()
  return { mcsChannelId, channelIds }
}

export function encodeServerNetworkData(network: ServerNetworkData): Uint8Array {
  const writer = new Writer(8 + network.channelIds.length * 2)
  writer.u16le(network.mcsChannelId).u16le(network.channelIds.length)
  for (const id of network.channelIds) writer.u16le(id)
  if (network.channelIds.length % 2 === 1) writer.u16le(0)
  return writer.finish()
}

/** The message channel's id. Spec: [MS-RDPBCGR] §2.2.1.4.5 TS_UD_SC_MCS_MSGCHANNEL. */
export function decodeServerMessageChannelData(data: Uint8Array): number {
  const reader = new Reader(data, 'TS_UD_SC_MCS_MSGCHANNEL')
  const mcsChannelId = reader.u16le('MCSChannelID')
  reader.end()
  return mcsChannelId
}

export function encodeServerMessageChannelData(mcsChannelId: number): Uint8Array {
  return new Writer(2).u16le(mcsChannelId).finish()
}
