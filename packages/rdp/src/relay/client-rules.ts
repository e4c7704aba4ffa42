import { withoutChannelCompression } from '../capabilities.ts'
import { WireError } from '../errors.ts'
import { TPKT_VERSION } from '../framing.ts'
import { decodeMcsPdu, encodeSendData, MCS, type McsPdu } from '../mcs/domain.ts'
import { decodeSecurityHeader, encodeSecurityHeader, SEC } from '../security-header.ts'
import { decodeShareData, PACKET_COMPRESSED, PDUTYPE, type SharePdu, splitSharePdus } from '../share.ts'
import { decodeX224Message } from '../x224.ts'
import { patchInfoPacket } from './client-info-patch.ts'
import type { ConnectSequence } from './connect-sequence.ts'
import { DROP, INSPECT, type LaneRules, PASS, type Verdict } from './lane.ts'
import { SendDataHeader } from './send-data-header.ts'
import { passableFrom } from './share-rules.ts'
import { type RelayState, refused, unexpected } from './state.ts'
import type { StaticChannels } from './static-channels.ts'

/** MCS Connect Initial with every block and 31 channels stays below 2 KiB; 16 KiB bounds what a stranger makes us hold. */
export const MAX_CONNECT_BYTES = 16_384

type SendDataRequest = McsPdu & { type: 'send_data_request' | 'send_data_indication' }

/** What the client may say to the target. */
export class ClientRules implements LaneRules {
  readonly #state: RelayState
  readonly #connect: ConnectSequence
  readonly #channels: StaticChannels
  readonly #header = new SendDataHeader(MCS.SEND_DATA_REQUEST)
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
    this.#passable = passableFrom('client', channels)
    this.#fastPath = channels.has('input') ? PASS : DROP
  }

  judge(bytes: Uint8Array, start: number, size: number): Verdict {
    const first = bytes[start] as number
    const state = this.#state
    if (!state.active) return this.#judgeBeforeActive(first, size)
    if (first !== TPKT_VERSION) {
      if (first >= 0x40) throw fastPathFlags(first)
      state.activity++
      return this.#fastPath === PASS ? PASS : this.#drop()
    }
    const header = this.#header
    if (!header.read(bytes, start, size)) return INSPECT
    this.#checkInitiator(header.initiator)
    switch (state.joinedChannel(state.clientIds.told(header.channelId)).kind) {
      case 'io':
        if (header.isInput(bytes)) state.activity++
        return header.isPassable(bytes, this.#passable) ? PASS : INSPECT
      case 'drdynvc':
      case 'cliprdr':
        return INSPECT
      case 'message':
        return header.securityFlags(bytes) === SEC.AUTODETECT_RSP ? PASS : this.#drop()
      case 'refused':
        return this.#drop()
      default:
        throw refused('nobody listens on a user channel', 'SendDataRequest', 'channelId', header.channelId)
    }
  }

  forward(bytes: Uint8Array): void {
    this.#state.sink.toServer(bytes)
  }

  inspect(packet: Uint8Array): void {
    const state = this.#state
    const message = decodeX224Message(packet)
    if (message.type === 'disconnect') {
      state.toServer(packet)
      return
    }
    if (state.stage === 'settings') {
      this.#connect.connectInitial(message.userData)
      return
    }
    const pdu = decodeMcsPdu(message.userData)
    if (pdu.type === 'disconnect_provider_ultimatum') state.toServer(packet)
    else if (pdu.type === 'send_data_request') this.#sendData(pdu, packet)
    else this.#connect.fromClient(pdu, packet)
  }

  #judgeBeforeActive(first: number, size: number): Verdict {
    if (first !== TPKT_VERSION) throw unexpected('fpHeader', 'action')
    const connecting = this.#state.stage === 'settings' || this.#state.stage === 'channels'
    if (connecting && size > MAX_CONNECT_BYTES) {
      throw new WireError('ERR_WIRE_TOO_LARGE', 'PDU is larger than its limit', {
        structure: 'tpktHeader',
        field: 'length',
        received: size,
        expected: MAX_CONNECT_BYTES,
      })
    }
    return INSPECT
  }

  #sendData(pdu: SendDataRequest, packet: Uint8Array): void {
    const state = this.#state
    this.#checkInitiator(pdu.initiator)
    const channelId = state.clientIds.told(pdu.channelId)
    const { kind, showsProtocol } = state.joinedChannel(channelId)
    if (state.stage === 'channels') {
      if (kind !== 'io') throw unexpected('SendDataRequest', 'channelId', pdu.channelId)
      this.#clientInfo(pdu)
    } else if (kind === 'io') this.#ioChannel(pdu, packet)
    else if (kind === 'message') {
      if (decodeSecurityHeader(pdu.userData).flags === SEC.AUTODETECT_RSP) state.toServer(packet)
      else this.#drop()
    } else if (kind === 'refused') this.#drop()
    else if ((kind === 'drdynvc' || kind === 'cliprdr') && state.active) {
      const forServer =
        channelId === pdu.channelId ? packet : encodeSendData(pdu.type, { ...pdu, channelId }, pdu.userData)
      this.#channels.push(kind, 'client_to_server', { ...pdu, channelId, packet: forServer, showsProtocol })
    } else throw unexpected('SendDataRequest', 'channelId', pdu.channelId)
  }

  #clientInfo(pdu: SendDataRequest): void {
    const state = this.#state
    if (!this.#connect.complete) throw unexpected('CLIENT_INFO_PDU', 'securityHeader')
    const { flags, body } = decodeSecurityHeader(pdu.userData)
    if ((flags & SEC.INFO_PKT) === 0) throw unexpected('TS_SECURITY_HEADER', 'flags', flags)
    const credentials = state.credentials
    const info = patchInfoPacket(body, credentials, state.options.policy)
    const packet = encodeSendData('send_data_request', pdu, encodeSecurityHeader(SEC.INFO_PKT), info)
    info.fill(0)
    state.credentials = undefined
    state.stage = 'licensing'
    state.toServer(packet)
    if (credentials !== undefined) state.sink.event({ type: 'credentials_used', packet })
  }

  #ioChannel(pdu: SendDataRequest, packet: Uint8Array): void {
    const state = this.#state
    if (state.stage === 'licensing') {
      this.#license(pdu, packet)
      return
    }
    const pdus = splitSharePdus(pdu.userData)
    const kept = pdus.map(share => this.#sharePdu(share))
    if (kept.every((bytes, index) => bytes === pdus[index]?.bytes)) state.toServer(packet)
    else
      for (const bytes of kept) if (bytes !== undefined) state.toServer(encodeSendData('send_data_request', pdu, bytes))
    if (!state.active && pdus.some(({ pduType }) => pduType === PDUTYPE.CONFIRMACTIVE)) {
      state.stage = 'active'
      state.active = true
      state.sink.event({ type: 'active' })
    }
  }

  #license(pdu: SendDataRequest, packet: Uint8Array): void {
    const { flags } = decodeSecurityHeader(pdu.userData)
    if ((flags & SEC.INFO_PKT) !== 0) throw refused('Client Info is sent twice', 'TS_SECURITY_HEADER', 'flags', flags)
    if ((flags & ~SEC.LICENSE_ENCRYPT) !== SEC.LICENSE_PKT) throw unexpected('TS_SECURITY_HEADER', 'flags', flags)
    this.#state.toServer(packet)
  }

  /** What goes on of one share PDU. */
  #sharePdu({ pduType, bytes }: SharePdu): Uint8Array | undefined {
    const state = this.#state
    switch (pduType) {
      case PDUTYPE.CONFIRMACTIVE:
        if (!state.confirmPending) throw unexpected('TS_CONFIRM_ACTIVE_PDU', 'pduType', pduType)
        state.confirmPending = false
        return withoutChannelCompression(bytes)
      case PDUTYPE.DATA: {
        // A Confirm Active ahead of it in the same message would have cleared this.
        if (!state.active && state.confirmPending) throw unexpected('TS_SHAREDATAHEADER', 'pduType', pduType)
        const { pduType2, compressedType } = decodeShareData(bytes)
        if ((compressedType & PACKET_COMPRESSED) !== 0) {
          throw refused('share data is compressed', 'TS_SHAREDATAHEADER', 'compressedType', compressedType)
        }
        if (this.#passable[pduType2] === 1) return bytes
        this.#drop()
        return undefined
      }
      case undefined:
        this.#drop()
        return undefined
      default:
        throw refused('client may not send this PDU', 'TS_SHARECONTROLHEADER', 'pduType', pduType)
    }
  }

  #checkInitiator(initiator: number): void {
    if (initiator === this.#state.userId) return
    throw refused('client speaks in the name of another user', 'SendDataRequest', 'initiator', initiator)
  }

  #drop(): Verdict {
    this.#state.counters.droppedFromClient++
    return DROP
  }
}

/** Both flags belong to Standard RDP Security, which would hide the PDU from us. */
export function fastPathFlags(first: number): WireError {
  return refused('fast-path PDU claims to be encrypted', 'fpHeader', 'flags', first >> 6)
}
