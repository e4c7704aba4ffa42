import { WireError } from '../errors.ts'
import { CS, decodeUserDataBlocks, encodeUserDataBlocks, SC, type UserDataBlock } from '../gcc/blocks.ts'
import {
  CHANNEL_OPTION,
  type ChannelDef,
  decodeClientNetworkData,
  encodeClientClusterData,
  encodeClientNetworkData,
  encodeClientSecurityData,
  MAX_STATIC_CHANNELS,
} from '../gcc/client-blocks.ts'
import {
  decodeClientCoreData,
  EARLY_CAPABILITY,
  encodeClientCoreData,
  HIGH_COLOR_24BPP,
  RNS_UD_32BPP_SUPPORT,
} from '../gcc/client-core.ts'
import {
  decodeServerCoreData,
  decodeServerMessageChannelData,
  decodeServerNetworkData,
  decodeServerSecurityData,
  encodeServerCoreData,
  encodeServerNetworkData,
  encodeServerSecurityData,
  SERVER_EARLY_CAPABILITY,
} from '../gcc/server-blocks.ts'
import type { StaticChannel } from './allow-list.ts'
import type { RelayOptions } from './types.ts'

/** One channel of the client's request; `rule` is undefined where it is refused. */
export interface RequestedChannel extends ChannelDef {
  readonly rule: StaticChannel | undefined
}

/** What the client asked for, as far as later patches depend on it. */
export interface ClientSettings {
  /** In the order of the request, refused ones included. */
  readonly channels: readonly RequestedChannel[]
  /** Channels that the relay asks for by itself, behind those of the client. */
  readonly own: readonly StaticChannel[]
  readonly wantsErrorInfo: boolean
  readonly wantsSkipChannelJoin: boolean
  readonly wantsMessageChannel: boolean
  readonly wantsMultitransport: boolean
}

/** What the server granted, with the ids that the client sees. */
export interface ServerSettings {
  readonly ioChannelId: number
  readonly messageChannelId: number | undefined
  /** In the order of the request; what the server could not make is refused. */
  readonly channels: readonly (RequestedChannel & { readonly id: number })[]
  /** Channels of the relay, which the client never hears of; an id of 0 is one that the server could not make. */
  readonly own: readonly { readonly rule: StaticChannel; readonly id: number }[]
  readonly skipChannelJoin: boolean
}

/** Compression of a channel that is looked into, and shadowing, are nothing that we let a client ask for. */
const CHANNEL_OPTIONS_DROPPED =
  CHANNEL_OPTION.COMPRESS | CHANNEL_OPTION.COMPRESS_RDP | CHANNEL_OPTION.REMOTE_CONTROL_PERSISTENT

/** Channel ids of refused channels start here: far from those that servers hand out one by one from 1003 on. */
const REFUSED_CHANNEL_ID_BASE = 0xf000

/** Which channels of a client pass, and which the relay asks for by itself. */
export interface ChannelRules {
  readonly ruleOf: (name: string) => StaticChannel | undefined
  readonly own: readonly StaticChannel[]
}

/**
 * The settings as the target may see them.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.3. Throws WireError.
 */
export function patchClientSettings(
  userData: Uint8Array,
  options: RelayOptions,
  { ruleOf, own }: ChannelRules,
): { userData: Uint8Array; settings: ClientSettings } {
  const blocks = decodeUserDataBlocks(userData)
  const coreBlock = requireBlock(blocks, CS.CORE, 'TS_UD_CS_CORE')
  const early = decodeClientCoreData(coreBlock).earlyCapabilityFlags ?? 0
  const network = blocks.find(({ type }) => type === CS.NET)
  const requested = network === undefined ? [] : decodeClientNetworkData(network.data).channels
  const seen = new Set<string>()
  const channels = requested.map(channel => {
    // A name that comes twice would have two ids; the second is refused.
    const rule = seen.has(channel.name) ? undefined : ruleOf(channel.name)
    seen.add(channel.name)
    return { ...channel, rule }
  })
  const passing = channels.filter(({ rule }) => rule !== undefined)
  const added = own.slice(0, MAX_STATIC_CHANNELS - passing.length)
  const forTarget = [
    ...passing.map(({ name, options: flags }) => ({ name, options: (flags & ~CHANNEL_OPTIONS_DROPPED) >>> 0 })),
    ...added.map(({ name }) => ({ name, options: CHANNEL_OPTION.INITIALIZED })),
  ]
  const net: UserDataBlock[] =
    forTarget.length === 0 ? [] : [{ type: CS.NET, data: encodeClientNetworkData({ channels: forTarget }) }]
  const patched = blocks.flatMap(block => {
    if (block.type !== CS.NET) return patchClientBlock(block, options)
    return block === network ? net : []
  })
  if (network === undefined) patched.push(...net)
  return {
    userData: encodeUserDataBlocks(patched),
    settings: {
      channels,
      own: added,
      wantsErrorInfo: (early & EARLY_CAPABILITY.SUPPORT_ERRINFO_PDU) !== 0,
      wantsSkipChannelJoin: (early & EARLY_CAPABILITY.SUPPORT_SKIP_CHANNELJOIN) !== 0,
      wantsMessageChannel: blocks.some(({ type }) => type === CS.MCS_MSGCHANNEL),
      wantsMultitransport: blocks.some(({ type }) => type === CS.MULTITRANSPORT),
    },
  }
}

function patchClientBlock(block: UserDataBlock, options: RelayOptions): UserDataBlock[] {
  switch (block.type) {
    case CS.CORE:
      return [{ type: block.type, data: patchClientCore(block.data, options) }]
    case CS.SECURITY:
      // TLS does the encryption; Standard RDP Security inside it would hide the PDUs from us.
      return [{ type: block.type, data: encodeClientSecurityData({ encryptionMethods: 0, extEncryptionMethods: 0 }) }]
    case CS.CLUSTER:
      // A client that cannot be redirected, and that does not choose the session to land in.
      return [{ type: block.type, data: encodeClientClusterData({ flags: 0, redirectedSessionId: 0 }) }]
    case CS.MONITOR:
    case CS.MONITOR_EX:
    case CS.MCS_MSGCHANNEL:
      return [block]
    default:
      // CS_MULTITRANSPORT, whose UDP side connection would go round the relay, and what nobody knows.
      return []
  }
}

function patchClientCore(data: Uint8Array, options: RelayOptions): Uint8Array {
  const core = decodeClientCoreData(data)
  // Servers tell us why they end a session even when the client does not care to know.
  const wanted = EARLY_CAPABILITY.WANT_32BPP_SESSION | EARLY_CAPABILITY.SUPPORT_ERRINFO_PDU
  return encodeClientCoreData({
    ...core,
    highColorDepth: HIGH_COLOR_24BPP,
    supportedColorDepths: (core.supportedColorDepths ?? 0) | RNS_UD_32BPP_SUPPORT,
    // The graphics pipeline is a dynamic channel that is not on the allow-list.
    earlyCapabilityFlags: ((core.earlyCapabilityFlags ?? 0) | wanted) & ~EARLY_CAPABILITY.SUPPORT_DYNVC_GFX_PROTOCOL,
    serverSelectedProtocol: options.targetSelectedProtocol,
  })
}

/**
 * The settings as the client may see them.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.4, §3.2.5.3.4. Throws WireError; REFUSED when the server turns on Standard RDP Security
 * or answers to other protocols than were asked for.
 */
export function patchServerSettings(
  userData: Uint8Array,
  options: RelayOptions,
  client: ClientSettings,
): { userData: Uint8Array; settings: ServerSettings } {
  const blocks = decodeUserDataBlocks(userData)
  const core = decodeServerCoreData(requireBlock(blocks, SC.CORE, 'TS_UD_SC_CORE'))
  // 0 is a server that does not fill the field in: one that really was asked for nothing would not speak TLS.
  const asked = core.clientRequestedProtocols || options.targetRequestedProtocols
  if (asked !== options.targetRequestedProtocols) {
    throw new WireError('ERR_WIRE_REFUSED', 'server saw another protocol request than was sent', {
      structure: 'TS_UD_SC_CORE',
      field: 'clientRequestedProtocols',
      received: asked,
      expected: options.targetRequestedProtocols,
    })
  }
  const security = blocks.find(({ type }) => type === SC.SECURITY)
  if (security !== undefined) refuseStandardSecurity(security.data)
  const messageBlock = client.wantsMessageChannel ? blocks.find(({ type }) => type === SC.MCS_MSGCHANNEL) : undefined
  const messageChannelId = messageBlock === undefined ? undefined : decodeServerMessageChannelData(messageBlock.data)
  const network = decodeServerNetworkData(requireBlock(blocks, SC.NET, 'TS_UD_SC_NET'))
  const { channels, own } = assignChannelIds(client, network.channelIds, [network.mcsChannelId, messageChannelId ?? 0])
  const skipsJoin = ((core.earlyCapabilityFlags ?? 0) & SERVER_EARLY_CAPABILITY.SKIP_CHANNELJOIN_SUPPORTED) !== 0
  const patched = blocks.flatMap((block): UserDataBlock[] => {
    switch (block.type) {
      case SC.CORE: {
        const data = encodeServerCoreData({ ...core, clientRequestedProtocols: options.clientRequestedProtocols })
        return [{ type: block.type, data }]
      }
      case SC.NET: {
        const channelIds = channels.map(({ id }) => id)
        return [{ type: block.type, data: encodeServerNetworkData({ mcsChannelId: network.mcsChannelId, channelIds }) }]
      }
      case SC.MCS_MSGCHANNEL:
        return client.wantsMessageChannel ? [block] : []
      case SC.SECURITY:
        // Refused above unless both are 0; then nothing follows them.
        return [{ type: block.type, data: encodeServerSecurityData({ encryptionMethod: 0, encryptionLevel: 0 }) }]
      default:
        // SC_MULTITRANSPORT, and what nobody knows: 64 KiB of anything for the client.
        return []
    }
  })
  return {
    userData: encodeUserDataBlocks(patched),
    settings: {
      ioChannelId: network.mcsChannelId,
      messageChannelId,
      channels,
      own,
      skipChannelJoin: client.wantsSkipChannelJoin && skipsJoin,
    },
  }
}

function refuseStandardSecurity(data: Uint8Array): void {
  const { encryptionMethod, encryptionLevel } = decodeServerSecurityData(data)
  if (encryptionMethod === 0 && encryptionLevel === 0) return
  throw new WireError('ERR_WIRE_REFUSED', 'server turns on Standard RDP Security inside TLS', {
    structure: 'TS_UD_SC_SEC1',
    field: encryptionMethod === 0 ? 'encryptionLevel' : 'encryptionMethod',
    received: encryptionMethod === 0 ? encryptionLevel : encryptionMethod,
    expected: 0,
  })
}

/**
 * Real ids to the channels that pass and to the relay's own, ids that nothing else has to the refused ones.
 *
 * What the server could not make, with an id of 0 or none, is as a refused one: xrdp answers with no id at all where its channels are switched
 * off, and clients join whatever they are told, 0 included.
 */
function assignChannelIds(
  client: ClientSettings,
  serverIds: readonly number[],
  otherIds: readonly number[],
): Pick<ServerSettings, 'channels' | 'own'> {
  const asked = client.channels.filter(({ rule }) => rule !== undefined).length + client.own.length
  if (serverIds.length > asked) throw badIds('channelCount', serverIds.length, asked)
  const taken = new Set<number>()
  for (const id of [...otherIds, ...serverIds]) {
    if (id !== 0 && taken.has(id)) throw badIds('channelIdArray', id)
    taken.add(id)
  }
  const real = serverIds.values()
  let next = REFUSED_CHANNEL_ID_BASE
  const channels = client.channels.map(channel => {
    const id = channel.rule === undefined ? 0 : (real.next().value ?? 0)
    if (id !== 0) return { ...channel, id }
    while (taken.has(next)) next++
    return { ...channel, rule: undefined, id: next++ }
  })
  return { channels, own: client.own.map(rule => ({ rule, id: real.next().value ?? 0 })) }
}

function badIds(field: string, received: number, expected?: number): WireError {
  return new WireError('ERR_WIRE_INVALID_FIELD', 'channel ids do not answer the request', {
    structure: 'TS_UD_SC_NET',
    field,
    received,
    ...(expected !== undefined && { expected }),
  })
}

function requireBlock(blocks: readonly UserDataBlock[], type: number, structure: string): Uint8Array {
  const block = blocks.find(candidate => candidate.type === type)
  if (block !== undefined) return block.data
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'settings lack a mandatory block', {
    structure,
    field: 'header.type',
    expected: type,
  })
}
