import { CHANNEL_FLAG, ChannelReassembler, decodeChannelChunk, encodeChannelMessage } from '../channel-pdu.ts'
import { encodeSendData } from '../mcs/domain.ts'
import type { ChannelPacket } from './channel-packet.ts'
import { DynamicChannels, MAX_DYNAMIC_MESSAGE_BYTES } from './dynamic-channels.ts'
import type { RelayState } from './state.ts'
import type { RelayDirection } from './types.ts'

/** The drdynvc channel: chunks in, messages judged by `DynamicChannels`, chunks out. */
export class DrdynvcChannel {
  readonly #state: RelayState
  readonly #dynamic: DynamicChannels
  readonly #fromClient = new ChannelReassembler(MAX_DYNAMIC_MESSAGE_BYTES)
  readonly #fromServer = new ChannelReassembler(MAX_DYNAMIC_MESSAGE_BYTES)

  constructor(state: RelayState) {
    this.#state = state
    this.#dynamic = new DynamicChannels(
      name => state.allowsDynamic(name),
      name => state.refuseChannel('dynamic', name, 'server_to_client'),
      () => state.refuseChannel('transport', 'udp', 'server_to_client'),
    )
  }

  get bufferedBytes(): number {
    return this.#fromClient.bufferedBytes + this.#fromServer.bufferedBytes
  }

  /** Throws WireError. */
  push(direction: RelayDirection, { initiator, channelId, userData, packet }: ChannelPacket): void {
    const fromServer = direction === 'server_to_client'
    const forward = (bytes: Uint8Array): void =>
      fromServer ? this.#state.toClient(bytes) : this.#state.toServer(bytes)
    const chunk = decodeChannelChunk(userData)
    if (chunk.data.length === 0 && (chunk.flags & (CHANNEL_FLAG.SUSPEND | CHANNEL_FLAG.RESUME)) !== 0) {
      forward(packet)
      return
    }
    const message = (fromServer ? this.#fromServer : this.#fromClient).push(chunk)
    if (message === undefined) return
    const outcome = fromServer ? this.#dynamic.fromServer(message) : this.#dynamic.fromClient(message)
    const flags = chunk.flags & CHANNEL_FLAG.SHOW_PROTOCOL
    if (outcome.forward === message && message === chunk.data) forward(packet)
    else if (outcome.forward !== undefined) {
      const type = fromServer ? 'send_data_indication' : 'send_data_request'
      const route = { initiator, channelId: fromServer ? this.#state.clientIds.called(channelId) : channelId }
      for (const part of encodeChannelMessage(outcome.forward, flags)) forward(encodeSendData(type, route, part))
    } else if (outcome.answer === undefined) {
      if (fromServer) this.#state.counters.droppedFromServer++
      else this.#state.counters.droppedFromClient++
    }
    // Only the server is ever answered: it asks for channels.
    if (outcome.answer !== undefined) {
      for (const part of encodeChannelMessage(outcome.answer, flags)) this.#state.sendToServer(channelId, part)
    }
  }
}
