import { CHANNEL_CHUNK_LENGTH, CHANNEL_FLAG, encodeChannelMessage } from '../channel-pdu.ts'
import { encodeSendData } from '../mcs/domain.ts'

/** Where a message of a static channel goes. */
export interface ChannelPlace {
  readonly initiator: number
  readonly channelId: number
  /** The channel's CHANNEL_OPTION_SHOW_PROTOCOL. */
  readonly showsProtocol: boolean
}

/** One Send Data PDU on a static channel that is looked into. */
export interface ChannelPacket extends ChannelPlace {
  readonly userData: Uint8Array
  /** The whole slow-path PDU. */
  readonly packet: Uint8Array
}

/** Everything in front of one chunk: TPKT (4), X.224 (3), MCS (8), CHANNEL_PDU_HEADER (8). */
const PDU_OVERHEAD = 23

/** One whole message of a channel as the slow-path PDUs that carry it, in one piece. */
export function encodeChannelPackets(
  type: 'send_data_request' | 'send_data_indication',
  { initiator, channelId, showsProtocol }: ChannelPlace,
  message: Uint8Array,
): Uint8Array {
  const chunks = encodeChannelMessage(message, showsProtocol ? CHANNEL_FLAG.SHOW_PROTOCOL : 0)
  const whole = new Uint8Array(chunks.length * (CHANNEL_CHUNK_LENGTH + PDU_OVERHEAD))
  let at = 0
  for (const chunk of chunks) {
    const packet = encodeSendData(type, { initiator, channelId }, chunk)
    whole.set(packet, at)
    at += packet.length
  }
  return whole.subarray(0, at)
}
