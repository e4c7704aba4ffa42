import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.3.4.1 CHANNEL_DEF options. */
export const CHANNEL_OPTION = {
  INITIALIZED: 0x80000000,
  ENCRYPT_RDP: 0x40000000,
  ENCRYPT_SC: 0x20000000,
  ENCRYPT_CS: 0x10000000,
  PRI_HIGH: 0x08000000,
  PRI_MED: 0x04000000,
  PRI_LOW: 0x02000000,
  COMPRESS_RDP: 0x00800000,
  COMPRESS: 0x00400000,
  SHOW_PROTOCOL: 0x00200000,
  REMOTE_CONTROL_PERSISTENT: 0x00100000,
} as const

/** Spec: [MS-RDPBCGR] §2.2.1.3.5 Flags. */
export const CLUSTER_FLAG = {
  REDIRECTION_SUPPORTED: 0x01,
  REDIRECTED_SESSIONID_FIELD_VALID: 0x02,
  SERVER_SESSION_REDIRECTION_VERSION_MASK: 0x3c,
  REDIRECTED_SMARTCARD: 0x40,
} as const

/** Spec: [MS-RDPBCGR] §2.2.1.3.4. */
export const MAX_STATIC_CHANNELS = 31
const CHANNEL_NAME_BYTES = 8
/** Spec: [MS-RDPBCGR] §2.2.1.3.6 monitorCount. */
export const MAX_MONITORS = 16

/** Client Security Data. Spec: [MS-RDPBCGR] §2.2.1.3.3 TS_UD_CS_SEC. Zero under TLS. */
export interface ClientSecurityData {
  readonly encryptionMethods: number
  readonly extEncryptionMethods: number
}

export interface ChannelDef {
  /** At most 7 characters of ASCII; other bytes show as `?`. */
  readonly name: string
  readonly options: number
}

/** Client Network Data. Spec: [MS-RDPBCGR] §2.2.1.3.4 TS_UD_CS_NET. */
export interface ClientNetworkData {
  readonly channels: readonly ChannelDef[]
}

/** Client Cluster Data. Spec: [MS-RDPBCGR] §2.2.1.3.5 TS_UD_CS_CLUSTER. */
export interface ClientClusterData {
  readonly flags: number
  readonly redirectedSessionId: number
}

/** Spec: [MS-RDPBCGR] §2.2.1.3.6.1 TS_MONITOR_DEF; right and bottom are inclusive, in pixels. */
export interface MonitorDef {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
  readonly flags: number
}

/** Client Monitor Data. Spec: [MS-RDPBCGR] §2.2.1.3.6 TS_UD_CS_MONITOR. */
export interface ClientMonitorData {
  readonly flags: number
  readonly monitors: readonly MonitorDef[]
}

/** Takes the block without its header, as do all decoders here. Throws WireError: TRUNCATED, TRAILING_BYTES. */
export function decodeClientSecurityData(data: Uint8Array): ClientSecurityData {
  const reader = new Reader(data, 'TS_UD_CS_SEC')
  const security = {
    encryptionMethods: reader.u32le('encryptionMethods'),
    extEncryptionMethods: reader.u32le('extEncryptionMethods'),
  }
  reader.end()
  return security
}

export function encodeClientSecurityData(security: ClientSecurityData): Uint8Array {
  return new Writer(8).u32le(security.encryptionMethods).u32le(security.extEncryptionMethods).finish()
}

/** Throws WireError: TRUNCATED, TOO_LARGE (more than 31 channels), TRAILING_BYTES. */
export function decodeClientNetworkData(data: Uint8Array): ClientNetworkData {
  const reader = new Reader(data, 'TS_UD_CS_NET')
  const count = reader.u32le('channelCount')
  if (count > MAX_STATIC_CHANNELS) throw tooMany('TS_UD_CS_NET', 'channelCount', count, MAX_STATIC_CHANNELS)
  const channels: ChannelDef[] = []
  for (let index = 0; index < count; index++) {
    const name = channelName(reader.take(CHANNEL_NAME_BYTES, 'name'))
    channels.push({ name, options: reader.u32le('options') })
  }
  reader.end()
  return { channels }
}

export function encodeClientNetworkData(network: ClientNetworkData): Uint8Array {
  const writer = new Writer(4 + network.channels.length * 12).u32le(network.channels.length)
  for (const { name, options } of network.channels) {
    const bytes = new TextEncoder().encode(name)
    if (bytes.length >= CHANNEL_NAME_BYTES) throw new TypeError('channel name is longer than 7 bytes')
    writer
      .bytes(bytes)
      .zeros(CHANNEL_NAME_BYTES - bytes.length)
      .u32le(options)
  }
  return writer.finish()
}

/** Throws WireError: TRUNCATED, TRAILING_BYTES. */
export function decodeClientClusterData(data: Uint8Array): ClientClusterData {
  const reader = new Reader(data, 'TS_UD_CS_CLUSTER')
  const cluster = { flags: reader.u32le('Flags'), redirectedSessionId: reader.u32le('RedirectedSessionID') }
  reader.end()
  return cluster
}

export function encodeClientClusterData(cluster: ClientClusterData): Uint8Array {
  return new Writer(8).u32le(cluster.flags).u32le(cluster.redirectedSessionId).finish()
}

/** Throws WireError: TRUNCATED, TOO_LARGE (more than 16 monitors), TRAILING_BYTES. */
export function decodeClientMonitorData(data: Uint8Array): ClientMonitorData {
  const reader = new Reader(data, 'TS_UD_CS_MONITOR')
  const flags = reader.u32le('flags')
  const count = reader.u32le('monitorCount')
  if (count > MAX_MONITORS) throw tooMany('TS_UD_CS_MONITOR', 'monitorCount', count, MAX_MONITORS)
  const monitors: MonitorDef[] = []
  for (let index = 0; index < count; index++) {
    monitors.push({
      left: reader.u32le('left') | 0,
      top: reader.u32le('top') | 0,
      right: reader.u32le('right') | 0,
      bottom: reader.u32le('bottom') | 0,
      flags: reader.u32le('flags'),
    })
  }
  reader.end()
  return { flags, monitors }
}

export function encodeClientMonitorData(monitor: ClientMonitorData): Uint8Array {
  const writer = new Writer(8 + monitor.monitors.length * 20).u32le(monitor.flags).u32le(monitor.monitors.length)
  for (const { left, top, right, bottom, flags } of monitor.monitors) {
    writer.u32le(left).u32le(top).u32le(right).u32le(bottom).u32le(flags)
  }
  return writer.finish()
}

/** Flags of TS_UD_CS_MCS_MSGCHANNEL and TS_UD_CS_MULTITRANSPORT, which are one number each. §2.2.1.3.7, §2.2.1.3.8. */
export function decodeFlagsBlock(data: Uint8Array, structure: string): number {
  const reader = new Reader(data, structure)
  const flags = reader.u32le('flags')
  reader.end()
  return flags
}

export function encodeFlagsBlock(flags: number): Uint8Array {
  return new Writer(4).u32le(flags).finish()
}

/** The text before the first zero; a name is compared and logged, so only printable ASCII survives. */
function channelName(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  const name = end < 0 ? bytes : bytes.subarray(0, end)
  return Array.from(name, byte => (byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?')).join('')
}

function tooMany(structure: string, field: string, received: number, expected: number): WireError {
  return new WireError('ERR_WIRE_TOO_LARGE', 'list is longer than the specification allows', {
    structure,
    field,
    received,
    expected,
  })
}
