import { withoutChannelCompression } from '../capabilities.ts'
import { WireError } from '../errors.ts'
import { TPKT_VERSION } from '../framing.ts'
import { decodeLicenseMessage, looksLikeLicenseMessage } from '../license.ts'
import { decodeMcsPdu, encodeSendData, MCS, type McsPdu } from '../mcs/domain.ts'
import { scrubSaveSessionInfo } from '../save-session-info.ts'
import { decodeSecurityHeader, SEC } from '../security-header.ts'
import { decodeSetErrorInfo } from '../set-error-info.ts'
import {
  decodeShareData,
  encodeShareData,
  looksLikeSharePdu,
  PACKET_COMPRESSED,
  PDUTYPE,
  PDUTYPE2,
  type ShareDataPdu,
  type SharePdu,
  splitSharePdus,
} from '../share.ts'
import { decodeX224Message } from '../x224.ts'
import { fastPathFlags, MAX_CONNECT_BYTES } from './client-rules.ts'
import type { ConnectSequence } from './connect-sequence.ts'
import { DROP, INSPECT, type LaneRules, PASS, type Verdict } from './lane.ts'
import { SendDataHeader } from './send-data-header.ts'
import { passableFrom } from './share-rules.ts'
import { type RelayState, refused, unexpected } from './state.ts'
import type { StaticChannels } from './static-channels.ts'

type SendDataIndication = McsPdu & { type: 'send_data_request' | 'send_data_indication' }

/** What the target may say to the client. */
export class ServerRules implements LaneRules {
  readonly #state: RelayState
  readonly #connect: ConnectSequence
  readonly #channels: StaticChannels
  readonly #header = new SendDataHeader(MCS.SEND_DATA_INDICATION)
  #passable!: Uint8Array
  #fastPath!: Verdict

  constructor(state: RelayState, connect: ConnectSequence, channels: StaticChannels) {
    this.#state = state
    this.#connect = connect
    this.#channels = channels
    this.policyChanged()
  }

  /** What passes is decided when the policy is set, not for each PDU. */
  policyChanged(): void {
    const { channels } = this.#state.policy
    this.#passable = passableFrom('server', channels)
    this.#fastPath = channels.has('display') ? PASS : DROP
  }

  judge(bytes: Uint8Array, start: number, size: number): Verdict {
    const first = bytes[start] as number
    const state = this.#state
    if (!state.active) return this.#judgeBeforeActive(first, size)
    if (first !== TPKT_VERSION) {
      if (first >= 0x40) throw fastPathFlags(first)
      return this.#fastPath === PASS ? PASS : this.#drop()
    }
    const header = this.#header
    if (!header.read(bytes, start, size)) return INSPECT
    switch (state.channels.get(header.channelId)?.kind) {
      case 'io':
        return header.isPassable(bytes, this.#passable) ? PASS : INSPECT
      case 'drdynvc':
      case 'cliprdr':
      case 'rdpdr':
        return INSPECT
      case 'message':
        return passesMessageChannel(header.securityFlags(bytes)) ? PASS : this.#dropMessage(header.securityFlags(bytes))
      default:
        // Ids of refused channels are known to the client only: a server that hits one is guessing.
        return this.#drop()
    }
  }

  forward(bytes: Uint8Array): void {
    this.#state.sink.toClient(bytes)
  }

  inspect(packet: Uint8Array): void {
    const state = this.#state
    const message = decodeX224Message(packet)
    if (message.type === 'disconnect') {
      state.toClient(packet)
      return
    }
    // Its two-byte tag 7f 66 would read as domain PDU 31, which does not exist.
    if (state.stage === 'settings' && message.userData[0] === 0x7f) {
      this.#connect.connectResponse(message.userData)
      return
    }
    const pdu = decodeMcsPdu(message.userData)
    if (pdu.type === 'disconnect_provider_ultimatum') state.toClient(packet)
    else if (pdu.type === 'send_data_indication') this.#sendData(pdu, packet)
    else if (state.stage === 'channels') this.#connect.fromServer(pdu, packet)
    else throw unexpected('DomainMCSPDU', pdu.type)
  }

  #judgeBeforeActive(first: number, size: number): Verdict {
    const { stage } = this.#state
    if (first !== TPKT_VERSION) throw unexpected('fpHeader', 'action')
    if ((stage === 'settings' || stage === 'channels') && size > MAX_CONNECT_BYTES) {
      throw new WireError('ERR_WIRE_TOO_LARGE', 'PDU is larger than its limit', {
        structure: 'tpktHeader',
        field: 'length',
        received: size,
        expected: MAX_CONNECT_BYTES,
      })
    }
    return INSPECT
  }

  #sendData(pdu: SendDataIndication, packet: Uint8Array): void {
    const state = this.#state
    if (state.stage === 'settings' || state.stage === 'channels') throw unexpected('DomainMCSPDU', pdu.type)
    const channel = state.channels.get(pdu.channelId)
    switch (channel?.kind) {
      case 'io':
        if (state.stage === 'licensing' && this.#isLicensing(pdu.userData)) this.#license(pdu, packet)
        else this.#ioChannel(pdu, packet)
        break
      case 'drdynvc':
      case 'cliprdr':
      case 'rdpdr': {
        const { kind, showsProtocol } = channel
        const channelId = state.clientIds.called(pdu.channelId)
        // Windows speaks as a user of its own, other servers as the client's. IronRDP answers in the name of whom it heard.
        const initiator = state.userId
        // Of drdynvc alone packets are handed on; the others are written anew from what is in them.
        const isAnother = channelId !== pdu.channelId || initiator !== pdu.initiator
        const forClient =
          kind === 'drdynvc' && isAnother ? encodeSendData(pdu.type, { initiator, channelId }, pdu.userData) : packet
        this.#channels.push(kind, 'server_to_client', { ...pdu, initiator, packet: forClient, showsProtocol })
        break
      }
      case 'message':
        this.#messageChannel(decodeSecurityHeader(pdu.userData).flags, packet)
        break
      default:
        this.#drop()
    }
  }

  /** Until Demand Active a security header is the rule, and a share PDU the exception that servers do make. */
  #isLicensing(userData: Uint8Array): boolean {
    return looksLikeLicenseMessage(userData) || !looksLikeSharePdu(userData)
  }

  #license(pdu: SendDataIndication, packet: Uint8Array): void {
    const state = this.#state
    const { flags, body } = decodeSecurityHeader(pdu.userData)
    if ((flags & SEC.REDIRECTION_PKT) !== 0) throw this.#redirection()
    if ((flags & SEC.LICENSE_PKT) === 0 || (flags & SEC.ENCRYPT) !== 0) {
      throw unexpected('TS_SECURITY_HEADER', 'flags', flags)
    }
    const { messageType, errorCode, stateTransition } = decodeLicenseMessage(body)
    state.sink.event({
      type: 'license',
      messageType,
      ...(errorCode !== undefined && { errorCode }),
      ...(stateTransition !== undefined && { stateTransition }),
    })
    state.toClient(packet)
  }

  #ioChannel(pdu: SendDataIndication, packet: Uint8Array): void {
    const state = this.#state
    const pdus = splitSharePdus(pdu.userData)
    const kept = pdus.map(share => this.#sharePdu(share))
    if (kept.every((bytes, index) => bytes === pdus[index]?.bytes)) state.toClient(packet)
    else
      for (const bytes of kept)
        if (bytes !== undefined) state.toClient(encodeSendData('send_data_indication', pdu, bytes))
  }

  /** What goes on of one share PDU. */
  #sharePdu({ pduType, bytes }: SharePdu): Uint8Array | undefined {
    const state = this.#state
    switch (pduType) {
      case PDUTYPE.DEMANDACTIVE:
        if (state.stage === 'licensing') state.stage = 'capabilities'
        state.confirmPending = true
        return withoutChannelCompression(bytes)
      case PDUTYPE.DEACTIVATEALL:
        return bytes
      case PDUTYPE.DATA:
        return this.#shareData(bytes)
      case PDUTYPE.SERVER_REDIR:
        throw this.#redirection()
      default:
        this.#drop()
        return undefined
    }
  }

  #shareData(bytes: Uint8Array): Uint8Array | undefined {
    const state = this.#state
    const data = decodeShareData(bytes)
    if ((data.compressedType & PACKET_COMPRESSED) !== 0) {
      throw refused('share data is compressed', 'TS_SHAREDATAHEADER', 'compressedType', data.compressedType)
    }
    switch (data.pduType2) {
      case PDUTYPE2.SAVE_SESSION_INFO:
        return this.#saveSessionInfo(data)
      case PDUTYPE2.SET_ERROR_INFO: {
        state.sink.event({ type: 'set_error_info', errorInfo: decodeSetErrorInfo(data.body) })
        return state.clientWantsErrorInfo ? bytes : undefined
      }
      default:
        if (this.#passable[data.pduType2] === 1) return bytes
        this.#drop()
        return undefined
    }
  }

  #saveSessionInfo(data: ShareDataPdu): Uint8Array | undefined {
    const { sink } = this.#state
    const { infoType, logonErrors, body } = scrubSaveSessionInfo(data.body)
    sink.event({ type: 'save_session_info', infoType })
    if (logonErrors !== undefined) sink.event({ type: 'logon_error', ...logonErrors })
    return body === undefined ? undefined : encodeShareData({ ...data, body })
  }

  /** The packet names another machine and carries credentials for it. */
  #redirection(): WireError {
    this.#state.sink.event({ type: 'server_redirection_refused' })
    return refused('server redirects the client', 'RDP_SERVER_REDIRECTION_PACKET', 'pduType', PDUTYPE.SERVER_REDIR)
  }

  #messageChannel(flags: number, packet: Uint8Array): void {
    if (passesMessageChannel(flags)) this.#state.toClient(packet)
    else this.#dropMessage(flags)
  }

  /** Initiate Multitransport Request: a UDP connection would go round the relay. */
  #dropMessage(flags: number): Verdict {
    if (flags !== -1 && (flags & SEC.TRANSPORT_REQ) !== 0) {
      this.#state.refuseChannel('transport', 'udp', 'server_to_client')
    }
    return this.#drop()
  }

  #drop(): Verdict {
    this.#state.counters.droppedFromServer++
    return DROP
  }
}

/** Exactly these flags: a PDU that is also a multitransport request does not get through as something else. */
function passesMessageChannel(flags: number): boolean {
  return flags === SEC.AUTODETECT_REQ || flags === SEC.HEARTBEAT
}
