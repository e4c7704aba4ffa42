import type { Channel } from '@rap/session-policy'
import { encodeChannelMessage } from '../../src/channel-pdu.ts'
import { encodeInfoPacket, INFO, type TsInfoPacket } from '../../src/client-info.ts'
import { encodeFastPath } from '../../src/fast-path.ts'
import { CS, encodeUserDataBlocks, SC, type UserDataBlock } from '../../src/gcc/blocks.ts'
import {
  CHANNEL_OPTION,
  encodeClientClusterData,
  encodeClientNetworkData,
  encodeClientSecurityData,
  encodeFlagsBlock,
} from '../../src/gcc/client-blocks.ts'
import { encodeClientCoreData } from '../../src/gcc/client-core.ts'
import { encodeConferenceCreateRequest, encodeConferenceCreateResponse } from '../../src/gcc/conference.ts'
import {
  encodeServerCoreData,
  encodeServerMessageChannelData,
  encodeServerNetworkData,
  encodeServerSecurityData,
} from '../../src/gcc/server-blocks.ts'
import { encodeLicenseValidClient } from '../../src/license.ts'
import { type DomainParameters, encodeMcsConnectInitial, encodeMcsConnectResponse } from '../../src/mcs/connect.ts'
import { encodeMcsPdu, encodeSendData, type McsPdu } from '../../src/mcs/domain.ts'
import { RdpRelay } from '../../src/relay/relay.ts'
import type { RelayEvent, RelayOptions } from '../../src/relay/types.ts'
import { encodeSecurityHeader, SEC } from '../../src/security-header.ts'
import { encodeShareData } from '../../src/share.ts'
import { encodeX224Data } from '../../src/x224.ts'
import { concat, hex, utf16le } from '../helper.ts'

export const USER = 1007
export const IO = 1003
export const MESSAGE = 1004
export const DRDYNVC = 1005
/** The ids that the relay gives to the first two refused channels. */
export const REFUSED = 0xf000
export const REFUSED_2 = 0xf001
export const PASSWORD = 'canary-7f3a'
export const DISPLAY_CONTROL = 'Microsoft::Windows::RDS::DisplayControl'

export function options(patch: Partial<RelayOptions> & { channels?: readonly Channel[] } = {}): RelayOptions {
  const { channels = ['display', 'input'], ...rest } = patch
  return {
    targetSelectedProtocol: 2,
    targetRequestedProtocols: 3,
    clientRequestedProtocols: 1,
    credentials: { username: 'target-user', domain: 'TARGET', password: utf16le(PASSWORD) },
    policy: { channels: new Set(channels), renderQualityProfile: 'balanced', clipboardBytes: 1_048_576 },
    ...rest,
  }
}

/** A relay with everything it emits; what it emits is copied, as the bytes are valid during the call only. */
export class Harness {
  readonly relay: RdpRelay
  readonly events: RelayEvent[] = []
  #toServer: Uint8Array[] = []
  #toClient: Uint8Array[] = []

  constructor(patch: Parameters<typeof options>[0] = {}) {
    this.relay = new RdpRelay(options(patch), {
      toClient: bytes => this.#toClient.push(Uint8Array.from(bytes)),
      toServer: bytes => this.#toServer.push(Uint8Array.from(bytes)),
      event: event => this.events.push(event),
    })
  }

  /** Pushes from the client and gives what the server got of it. */
  client(...chunks: readonly Uint8Array[]): Uint8Array {
    for (const chunk of chunks) this.relay.fromClient(chunk)
    return this.takeToServer()
  }

  /** Pushes from the server and gives what the client got of it. */
  server(...chunks: readonly Uint8Array[]): Uint8Array {
    for (const chunk of chunks) this.relay.fromServer(chunk)
    return this.takeToClient()
  }

  takeToServer(): Uint8Array {
    return concat(...this.#toServer.splice(0))
  }

  takeToClient(): Uint8Array {
    return concat(...this.#toClient.splice(0))
  }

  eventsOf<Type extends RelayEvent['type']>(type: Type): (RelayEvent & { type: Type })[] {
    return this.events.filter((event): event is RelayEvent & { type: Type } => event.type === type)
  }

  /** Through the settings exchange, with drdynvc and two channels that are refused. */
  toChannels(client: ClientOffer = {}, server: ServerAnswer = {}): this {
    this.client(connectInitial(client))
    this.server(connectResponse(server))
    return this
  }

  /** Through attach and joins; `joins` are those of the channels in `client` and `server`. */
  toJoined(client: ClientOffer = {}, server: ServerAnswer = {}, joins = joinsOf(server)): this {
    this.toChannels(client, server)
    this.client(mcs({ type: 'erect_domain_request' }), mcs({ type: 'attach_user_request' }))
    this.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
    for (const channelId of [USER, IO, MESSAGE, ...joins]) this.join(channelId)
    this.takeToClient()
    return this
  }

  join(channelId: number): void {
    const forwarded = this.client(mcs({ type: 'channel_join_request', initiator: USER, channelId }))
    if (forwarded.length > 0) this.server(joinConfirm(channelId))
  }

  /** Through Client Info and licensing. */
  toCapabilities(client: ClientOffer = {}, server: ServerAnswer = {}, joins = joinsOf(server)): this {
    this.toJoined(client, server, joins)
    this.client(clientInfo())
    this.server(license())
    this.server(demandActive())
    return this
  }

  /** Up to the active phase. */
  toActive(client: ClientOffer = {}, server: ServerAnswer = {}, joins = joinsOf(server)): this {
    this.toCapabilities(client, server, joins)
    this.client(confirmActive())
    this.takeToServer()
    this.takeToClient()
    return this
  }
}

/** Of the three channels that a client asks for by itself. */
function joinsOf({ channelIds }: ServerAnswer): readonly number[] {
  return channelIds === undefined ? [REFUSED, DRDYNVC, REFUSED_2] : [REFUSED, REFUSED_2]
}

const PARAMETERS: DomainParameters = {
  maxChannelIds: 34,
  maxUserIds: 2,
  maxTokenIds: 0,
  numPriorities: 1,
  minThroughput: 0,
  maxHeight: 1,
  maxMcsPduSize: 65535,
  protocolVersion: 2,
}

export interface ClientOffer {
  readonly channels?: readonly string[]
  readonly earlyCapabilityFlags?: number
  readonly blocks?: readonly UserDataBlock[]
  /** Left out of the settings. */
  readonly without?: readonly number[]
}

export const CORE = {
  version: 0x0008000c,
  desktopWidth: 1280,
  desktopHeight: 800,
  colorDepth: 0xca01,
  sasSequence: 0xaa03,
  keyboardLayout: 0x409,
  clientBuild: 19041,
  clientName: new Uint8Array(32),
  keyboardType: 4,
  keyboardSubType: 0,
  keyboardFunctionKey: 12,
  imeFileName: new Uint8Array(64),
  postBeta2ColorDepth: 0xca01,
  clientProductId: 1,
  serialNumber: 0,
  highColorDepth: 16,
  supportedColorDepths: 7,
  earlyCapabilityFlags: 0x0101,
  clientDigProductId: new Uint8Array(64),
  connectionType: 6,
  serverSelectedProtocol: 1,
}

export function connectInitial(offer: ClientOffer = {}): Uint8Array {
  const { channels = ['rdpdr', 'drdynvc', 'cliprdr'], earlyCapabilityFlags = CORE.earlyCapabilityFlags } = offer
  const blocks = [
    { type: CS.CORE, data: encodeClientCoreData({ ...CORE, earlyCapabilityFlags }) },
    { type: CS.CLUSTER, data: encodeClientClusterData({ flags: 0x1f, redirectedSessionId: 7 }) },
    { type: CS.SECURITY, data: encodeClientSecurityData({ encryptionMethods: 0x1b, extEncryptionMethods: 2 }) },
    {
      type: CS.NET,
      data: encodeClientNetworkData({
        channels: channels.map(name => ({
          name,
          options: CHANNEL_OPTION.INITIALIZED + CHANNEL_OPTION.COMPRESS_RDP + CHANNEL_OPTION.COMPRESS,
        })),
      }),
    },
    { type: CS.MCS_MSGCHANNEL, data: encodeFlagsBlock(0) },
    { type: CS.MULTITRANSPORT, data: encodeFlagsBlock(0x305) },
    { type: 0xc0f0, data: hex('11 22 33') },
    ...(offer.blocks ?? []),
  ].filter(({ type }) => !offer.without?.includes(type))
  return encodeX224Data(
    encodeMcsConnectInitial({
      callingDomainSelector: Uint8Array.of(1),
      calledDomainSelector: Uint8Array.of(1),
      upwardFlag: true,
      targetParameters: PARAMETERS,
      minimumParameters: PARAMETERS,
      maximumParameters: PARAMETERS,
      userData: encodeConferenceCreateRequest(encodeUserDataBlocks(blocks)),
    }),
  )
}

export interface ServerAnswer {
  readonly result?: number
  readonly channelIds?: readonly number[]
  readonly ioChannelId?: number
  readonly messageChannelId?: number
  readonly earlyCapabilityFlags?: number
  readonly clientRequestedProtocols?: number
  readonly encryptionMethod?: number
  readonly encryptionLevel?: number
  readonly without?: readonly number[]
}

export function connectResponse(answer: ServerAnswer = {}): Uint8Array {
  const blocks = [
    {
      type: SC.CORE,
      data: encodeServerCoreData({
        version: 0x0008000c,
        clientRequestedProtocols: answer.clientRequestedProtocols ?? 3,
        earlyCapabilityFlags: answer.earlyCapabilityFlags ?? 0,
      }),
    },
    {
      type: SC.NET,
      data: encodeServerNetworkData({
        mcsChannelId: answer.ioChannelId ?? IO,
        channelIds: answer.channelIds ?? [DRDYNVC],
      }),
    },
    {
      type: SC.SECURITY,
      data: encodeServerSecurityData({
        encryptionMethod: answer.encryptionMethod ?? 0,
        encryptionLevel: answer.encryptionLevel ?? 0,
        rest: hex('66 77'),
      }),
    },
    { type: SC.MCS_MSGCHANNEL, data: encodeServerMessageChannelData(answer.messageChannelId ?? MESSAGE) },
    { type: SC.MULTITRANSPORT, data: encodeFlagsBlock(0x301) },
    { type: 0x0cf0, data: hex('44 55') },
  ].filter(({ type }) => !answer.without?.includes(type))
  return encodeX224Data(
    encodeMcsConnectResponse({
      result: answer.result ?? 0,
      calledConnectId: 0,
      domainParameters: PARAMETERS,
      userData: encodeConferenceCreateResponse({
        nodeId: 0x79f3,
        tag: 1,
        result: 0,
        userData: encodeUserDataBlocks(blocks),
      }),
    }),
  )
}

export function mcs(pdu: McsPdu): Uint8Array {
  return encodeX224Data(encodeMcsPdu(pdu))
}

export function joinConfirm(channelId: number): Uint8Array {
  return mcs({ type: 'channel_join_confirm', result: 0, initiator: USER, requested: channelId, channelId })
}

/** From the client, on a channel. */
export function request(channelId: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return encodeSendData('send_data_request', { initiator: USER, channelId }, ...parts)
}

/** From the server, on a channel. */
export function indication(channelId: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return encodeSendData('send_data_indication', { initiator: 1002, channelId }, ...parts)
}

export const CLIENT_INFO: TsInfoPacket = {
  codePage: 0x04090409,
  flags:
    INFO.MOUSE |
    INFO.UNICODE |
    INFO.COMPRESSION |
    INFO.RAIL |
    INFO.AUTOLOGON |
    INFO.PASSWORD_IS_SC_PIN |
    INFO.REMOTECONSOLEAUDIO |
    INFO.AUDIOCAPTURE |
    INFO.USING_SAVED_CREDS |
    INFO.HIDEF_RAIL_SUPPORTED |
    INFO.ENABLEWINDOWSKEY,
  domain: utf16le('EVIL'),
  userName: utf16le('mallory'),
  password: utf16le('guess'),
  alternateShell: utf16le('cmd.exe /c calc'),
  workingDir: utf16le('C:\\evil'),
  extraInfo: {
    clientAddressFamily: 2,
    clientAddress: utf16le('192.0.2.7\0'),
    clientDir: utf16le('C:\\dir\0'),
    clientTimeZone: new Uint8Array(172).fill(9),
    clientSessionId: 5,
    performanceFlags: 0x1ff,
    autoReconnectCookie: new Uint8Array(28).fill(0xc7),
    dynamicTimeZone: hex('0000 0000 0000 0000'),
  },
}

export function clientInfo(packet: TsInfoPacket = CLIENT_INFO): Uint8Array {
  return request(IO, encodeSecurityHeader(SEC.INFO_PKT), encodeInfoPacket(packet))
}

export function license(): Uint8Array {
  return indication(IO, encodeSecurityHeader(SEC.LICENSE_PKT), encodeLicenseValidClient())
}

/** A Virtual Channel Capability Set that allows compression, and one of an unknown type. */
const CAPABILITIES = hex('02 00 00 00 14 00 0c 00 03 00 00 00 40 06 00 00 99 00 06 00 ab cd')

export function demandActivePdu(): Uint8Array {
  const body = concat(
    hex('ea 03 01 00 04 00'),
    Uint8Array.of(CAPABILITIES.length, 0),
    hex('52 44 50 00'),
    CAPABILITIES,
    hex('00 00 00 00'),
  )
  return concat(Uint8Array.of(6 + body.length, 0), hex('11 00 ea 03'), body)
}

export function demandActive(): Uint8Array {
  return indication(IO, demandActivePdu())
}

export function confirmActivePdu(): Uint8Array {
  const body = concat(
    hex('ea 03 01 00 ea 03 06 00'),
    Uint8Array.of(CAPABILITIES.length, 0),
    hex('4d 53 54 53 43 00'),
    CAPABILITIES,
  )
  return concat(Uint8Array.of(6 + body.length, 0), hex('13 00 ef 03'), body)
}

export function confirmActive(): Uint8Array {
  return request(IO, confirmActivePdu())
}

/** A share data PDU of the given type. */
export function share(pduType2: number, body: Uint8Array = new Uint8Array(4)): Uint8Array {
  return encodeShareData({ pduSource: 1002, shareId: 0x103ea, streamId: 1, pduType2, body })
}

export function fastPath(size: number, fill = 0x5a): Uint8Array {
  return encodeFastPath({ numEvents: 1, flags: 0, body: new Uint8Array(size).fill(fill) })
}

/** A drdynvc message as the chunks of one side. */
export function dynamic(side: typeof request | typeof indication, message: Uint8Array): Uint8Array {
  return concat(...encodeChannelMessage(message).map(chunk => side(DRDYNVC, chunk)))
}
