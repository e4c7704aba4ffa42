import { WireError } from '../errors.ts'
import {
  decodeConferenceCreateRequest,
  decodeConferenceCreateResponse,
  encodeConferenceCreateRequest,
  encodeConferenceCreateResponse,
} from '../gcc/conference.ts'
import {
  decodeMcsConnectInitial,
  decodeMcsConnectResponse,
  encodeMcsConnectInitial,
  encodeMcsConnectResponse,
} from '../mcs/connect.ts'
import { encodeMcsPdu, type McsPdu } from '../mcs/domain.ts'
import { encodeX224Data } from '../x224.ts'
import { allowedChannel, STATIC_CHANNEL_ALLOW_LIST } from './allow-list.ts'
import { isOwnChannel } from './channel-kind.ts'
import { type ClientSettings, patchClientSettings, patchServerSettings } from './gcc-patch.ts'
import { type RelayState, refused, unexpected } from './state.ts'

/** Who asked for a join: `client` at the target, `client_alone` where the target has no such channel, `relay` where the client has none. */
type Join = {
  readonly channelId: number
  /** What the client calls it. */
  readonly calledId: number
  readonly by: 'client' | 'client_alone' | 'relay'
}

/**
 * Settings exchange and channel connection: Connect Initial and Response, attach, joins.
 *
 * Clients may send all their joins in one batch (RDP 8.1 to 10.1 do), so confirms for channels that only we know
 * wait in the order of the requests. Spec: [MS-RDPBCGR] §1.3.1.1, §3.2.5.3.8.
 */
export class ConnectSequence {
  readonly #state: RelayState
  #client: ClientSettings | undefined
  /** The ids of the client's channels, as it was told them. */
  #toldIds: readonly number[] = []
  #ioChannelId = 0
  #erected = false
  #attach: 'none' | 'requested' | 'confirmed' = 'none'
  readonly #joins: Join[] = []
  #hasJoinedOwn = false

  constructor(state: RelayState) {
    this.#state = state
  }

  /** MCS Connect Initial. */
  connectInitial(userData: Uint8Array): void {
    if (this.#client !== undefined) throw unexpected('mcsCi', 'tag')
    const state = this.#state
    const initial = decodeMcsConnectInitial(userData)
    const blocks = decodeConferenceCreateRequest(initial.userData)
    const patched = patchClientSettings(blocks, state.options, {
      ruleOf: name => {
        const rule = allowedChannel(STATIC_CHANNEL_ALLOW_LIST, name, state.policy.channels)
        return rule?.by === 'client' ? rule : undefined
      },
      own: STATIC_CHANNEL_ALLOW_LIST.filter(({ by, name }) => {
        return (
          by === 'relay' &&
          state.drive !== undefined &&
          allowedChannel(STATIC_CHANNEL_ALLOW_LIST, name, state.policy.channels)
        )
      }),
    })
    this.#client = patched.settings
    state.clientWantsErrorInfo = patched.settings.wantsErrorInfo
    for (const { name, rule } of patched.settings.channels) {
      if (rule === undefined) state.refuseChannel('static', name, 'client_to_server')
    }
    if (patched.settings.wantsMultitransport) state.refuseChannel('transport', 'udp', 'client_to_server')
    const gcc = encodeConferenceCreateRequest(patched.userData)
    state.toServer(encodeX224Data(encodeMcsConnectInitial({ ...initial, userData: gcc })))
  }

  /** MCS Connect Response. */
  connectResponse(userData: Uint8Array): void {
    const state = this.#state
    if (this.#client === undefined || state.stage !== 'settings') throw unexpected('mcsCrsp', 'tag')
    const response = decodeMcsConnectResponse(userData)
    if (response.result !== 0) {
      throw refused('server refuses the settings', 'mcsCrsp', 'result', response.result)
    }
    const conference = decodeConferenceCreateResponse(response.userData)
    const patched = patchServerSettings(conference.userData, state.options, this.#client)
    state.addChannels(patched.settings)
    this.#toldIds = patched.settings.channels.map(({ id }) => id)
    this.#ioChannelId = patched.settings.ioChannelId
    state.stage = 'channels'
    const gcc = encodeConferenceCreateResponse({ ...conference, userData: patched.userData })
    state.toClient(encodeX224Data(encodeMcsConnectResponse({ ...response, userData: gcc })))
  }

  /** A domain PDU of the client other than data, with the packet it came in. */
  fromClient(pdu: McsPdu, packet: Uint8Array): void {
    const state = this.#state
    if (state.stage !== 'channels') throw unexpected('DomainMCSPDU', pdu.type)
    switch (pdu.type) {
      case 'erect_domain_request':
        if (this.#erected || this.#attach !== 'none') throw unexpected('DomainMCSPDU', pdu.type)
        this.#erected = true
        // Whoever writes it so is of rdesktop's family, which does not read the ids that it is told either.
        if (pdu.bareNumbers) state.clientIds.count(this.#ioChannelId, this.#toldIds)
        state.toServer(encodeX224Data(encodeMcsPdu(pdu)))
        break
      case 'attach_user_request':
        if (this.#attach !== 'none') throw unexpected('DomainMCSPDU', pdu.type)
        this.#attach = 'requested'
        state.toServer(packet)
        break
      case 'channel_join_request':
        this.#joinRequest(pdu, packet)
        break
      default:
        throw unexpected('DomainMCSPDU', pdu.type)
    }
  }

  /** A domain PDU of the server other than data, with the packet it came in. */
  fromServer(pdu: McsPdu, packet: Uint8Array): void {
    const state = this.#state
    if (pdu.type === 'attach_user_confirm') {
      if (this.#attach !== 'requested') throw unexpected('DomainMCSPDU', pdu.type)
      if (pdu.result !== 0 || pdu.initiator === undefined) {
        throw refused('server refuses the user', 'AttachUserConfirm', 'result', pdu.result)
      }
      this.#attach = 'confirmed'
      state.addUser(pdu.initiator)
      state.toClient(packet)
      return
    }
    if (pdu.type !== 'channel_join_confirm') throw unexpected('DomainMCSPDU', pdu.type)
    const head = this.#joins.shift()
    if (head === undefined || head.by === 'client_alone' || pdu.requested !== head.channelId) {
      throw unexpected('ChannelJoinConfirm', 'requested', pdu.requested)
    }
    const channel = state.channels.get(pdu.requested)
    if (pdu.result === 0 && channel !== undefined) channel.joined = true
    if (head.by === 'client') {
      const { calledId } = head
      const same = calledId === head.channelId
      state.toClient(same ? packet : encodeX224Data(encodeMcsPdu(confirmFor(pdu, calledId))))
    }
    this.#confirmAlone()
  }

  /** Whether the joins are far enough for the Client Info PDU. */
  get complete(): boolean {
    if (this.#attach !== 'confirmed' || this.#joins.length > 0) return false
    const channels = [...this.#state.channels.values()]
    return channels.some(({ kind, joined }) => kind === 'io' && joined)
  }

  #joinRequest(pdu: McsPdu & { type: 'channel_join_request' }, packet: Uint8Array): void {
    const state = this.#state
    const { initiator } = pdu
    if (this.#attach !== 'confirmed') throw unexpected('DomainMCSPDU', pdu.type)
    if (initiator !== state.userId) {
      throw refused('client speaks in the name of another user', 'ChannelJoinRequest', 'initiator', initiator)
    }
    const channelId = this.#toldId(pdu.channelId)
    const channel = state.channels.get(channelId)
    if (channel === undefined || isOwnChannel(channel.kind))
      throw refused('channel does not exist', 'ChannelJoinRequest', 'channelId', channelId)
    if ((channel.joined && !state.skipChannelJoin) || this.#joins.some(join => join.channelId === channelId)) {
      throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'channel is joined twice', {
        structure: 'ChannelJoinRequest',
        field: 'channelId',
        received: channelId,
      })
    }
    this.#joinOwn()
    const alone = channel.kind === 'refused'
    this.#joins.push({ channelId, calledId: pdu.channelId, by: alone ? 'client_alone' : 'client' })
    if (alone) this.#confirmAlone()
    else if (channelId === pdu.channelId) state.toServer(packet)
    else state.toServer(encodeX224Data(encodeMcsPdu({ ...pdu, channelId })))
  }

  /** A client that counts may count up to its own user channel, which it joins first. */
  #toldId(calledId: number): number {
    const { userId, channels, clientIds } = this.#state
    const isUserFirst = calledId === userId && channels.get(userId)?.joined === false
    return isUserFirst && !this.#joins.some(({ channelId }) => channelId === userId) ? userId : clientIds.told(calledId)
  }

  /** Joins the relay's own channels, in front of the client's first join: servers count the joins. */
  #joinOwn(): void {
    const state = this.#state
    if (this.#hasJoinedOwn) return
    this.#hasJoinedOwn = true
    if (state.skipChannelJoin) return
    for (const [channelId, { kind }] of state.channels) {
      if (!isOwnChannel(kind)) continue
      this.#joins.push({ channelId, calledId: channelId, by: 'relay' })
      state.toServer(encodeX224Data(encodeMcsPdu({ type: 'channel_join_request', initiator: state.userId, channelId })))
    }
  }

  /** Confirms the joins at the head of the queue that the server never sees. */
  #confirmAlone(): void {
    const state = this.#state
    while (this.#joins[0]?.by === 'client_alone') {
      const { channelId, calledId: requested } = this.#joins[0]
      this.#joins.shift()
      const channel = state.channels.get(channelId)
      if (channel !== undefined) channel.joined = true
      const confirm: McsPdu = {
        type: 'channel_join_confirm',
        result: 0,
        initiator: state.userId,
        requested,
        channelId: requested,
      }
      state.toClient(encodeX224Data(encodeMcsPdu(confirm)))
    }
  }
}

/** The target's confirm with the id that the client asked with. */
function confirmFor(pdu: McsPdu & { type: 'channel_join_confirm' }, calledId: number): McsPdu {
  return { ...pdu, requested: calledId, ...(pdu.channelId !== undefined && { channelId: calledId }) }
}
