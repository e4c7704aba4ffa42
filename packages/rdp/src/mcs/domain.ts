import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'
import { perLengthBytes, readPerLength, writePerLength } from '../per.ts'
import { writeX224DataHeader } from '../x224.ts'

/** Choice numbers of DomainMCSPDU; on the wire they are the high six bits. Spec: [T.125] §7 part 10. */
export const MCS = {
  ERECT_DOMAIN_REQUEST: 1,
  DISCONNECT_PROVIDER_ULTIMATUM: 8,
  ATTACH_USER_REQUEST: 10,
  ATTACH_USER_CONFIRM: 11,
  CHANNEL_JOIN_REQUEST: 14,
  CHANNEL_JOIN_CONFIRM: 15,
  SEND_DATA_REQUEST: 25,
  SEND_DATA_INDICATION: 26,
} as const

/** UserId is a dynamic channel id: PER writes it as its distance from 1001. */
const USER_ID_BASE = 1001
/** High priority; begin and end of segmentation: RDP never splits a message over MCS PDUs. */
const PRIORITY_AND_SEGMENTATION = 0x70

/** One message of the MCS domain, as the connection sequence and the steady state use them. */
export type McsPdu =
  /** Its numbers mean nothing in RDP: they are not read, and written as 0. `bareNumbers`: they have no length bytes, as rdesktop writes them. */
  | { readonly type: 'erect_domain_request'; readonly bareNumbers?: true }
  | { readonly type: 'attach_user_request' }
  /** `initiator` is the new user's channel id; undefined when the attach was refused. */
  | { readonly type: 'attach_user_confirm'; readonly result: number; readonly initiator?: number }
  | { readonly type: 'channel_join_request'; readonly initiator: number; readonly channelId: number }
  /** `channelId` is undefined when the join was refused. */
  | {
      readonly type: 'channel_join_confirm'
      readonly result: number
      readonly initiator: number
      readonly requested: number
      readonly channelId?: number
    }
  | {
      readonly type: 'send_data_request' | 'send_data_indication'
      readonly initiator: number
      readonly channelId: number
      readonly userData: Uint8Array
    }
  | { readonly type: 'disconnect_provider_ultimatum'; readonly reason: number }

/**
 * Takes the X.224 user data of one domain PDU; `userData` of the result is a view.
 *
 * Spec: [T.125] §11, [MS-RDPBCGR] §2.2.1.5 to §2.2.1.9, aligned PER.
 * Throws WireError: TRUNCATED, INVALID_FIELD, UNEXPECTED_MESSAGE (other choices), TRAILING_BYTES.
 */
export function decodeMcsPdu(bytes: Uint8Array): McsPdu {
  const reader = new Reader(bytes, 'DomainMCSPDU')
  const first = reader.u8('choice')
  const pdu = readBody(reader, first)
  reader.end()
  return pdu
}

function readBody(reader: Reader, first: number): McsPdu {
  const choice = first >> 2
  switch (choice) {
    case MCS.ERECT_DOMAIN_REQUEST:
      // A length of 0 is none that PER has.
      return reader.take(reader.remaining, 'subHeight')[0] === 0
        ? { type: 'erect_domain_request', bareNumbers: true }
        : { type: 'erect_domain_request' }
    case MCS.DISCONNECT_PROVIDER_ULTIMATUM: {
      // The 3-bit reason straddles the two bytes.
      const second = reader.u8('reason')
      return { type: 'disconnect_provider_ultimatum', reason: ((first & 0x3) << 1) | (second >> 7) }
    }
    case MCS.ATTACH_USER_REQUEST:
      return { type: 'attach_user_request' }
    case MCS.ATTACH_USER_CONFIRM: {
      const result = reader.u8('result')
      return (first & 0x2) === 0
        ? { type: 'attach_user_confirm', result }
        : { type: 'attach_user_confirm', result, initiator: readUserId(reader) }
    }
    case MCS.CHANNEL_JOIN_REQUEST:
      return { type: 'channel_join_request', initiator: readUserId(reader), channelId: reader.u16be('channelId') }
    case MCS.CHANNEL_JOIN_CONFIRM: {
      const result = reader.u8('result')
      const initiator = readUserId(reader)
      const requested = reader.u16be('requested')
      return (first & 0x2) === 0
        ? { type: 'channel_join_confirm', result, initiator, requested }
        : { type: 'channel_join_confirm', result, initiator, requested, channelId: reader.u16be('channelId') }
    }
    case MCS.SEND_DATA_REQUEST:
    case MCS.SEND_DATA_INDICATION: {
      const type = choice === MCS.SEND_DATA_REQUEST ? 'send_data_request' : 'send_data_indication'
      const initiator = readUserId(reader)
      const channelId = reader.u16be('channelId')
      reader.skip(1, 'dataPriority')
      const userData = reader.take(readPerLength(reader, 'userData'), 'userData')
      return { type, initiator, channelId, userData }
    }
    default:
      throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'MCS domain PDU is not one that RDP uses', {
        structure: 'DomainMCSPDU',
        field: 'choice',
        received: choice,
      })
  }
}

/** The X.224 user data of one domain PDU. */
export function encodeMcsPdu(pdu: McsPdu): Uint8Array {
  const writer = new Writer(16)
  switch (pdu.type) {
    case 'erect_domain_request':
      // subHeight and subInterval, each a length byte and 0.
      writer.u8(MCS.ERECT_DOMAIN_REQUEST << 2).bytes(Uint8Array.of(1, 0, 1, 0))
      break
    case 'disconnect_provider_ultimatum':
      writer.u8((MCS.DISCONNECT_PROVIDER_ULTIMATUM << 2) | (pdu.reason >> 1)).u8((pdu.reason & 1) << 7)
      break
    case 'attach_user_request':
      writer.u8(MCS.ATTACH_USER_REQUEST << 2)
      break
    case 'attach_user_confirm':
      writer.u8((MCS.ATTACH_USER_CONFIRM << 2) | (pdu.initiator === undefined ? 0 : 2)).u8(pdu.result)
      if (pdu.initiator !== undefined) writeUserId(writer, pdu.initiator)
      break
    case 'channel_join_request':
      writeUserId(writer.u8(MCS.CHANNEL_JOIN_REQUEST << 2), pdu.initiator).u16be(pdu.channelId)
      break
    case 'channel_join_confirm':
      writer.u8((MCS.CHANNEL_JOIN_CONFIRM << 2) | (pdu.channelId === undefined ? 0 : 2)).u8(pdu.result)
      writeUserId(writer, pdu.initiator).u16be(pdu.requested)
      if (pdu.channelId !== undefined) writer.u16be(pdu.channelId)
      break
    default:
      writeSendDataHeader(writer, pdu.type, pdu, pdu.userData.length).bytes(pdu.userData)
  }
  return writer.finish()
}

/** Where a message of the steady state goes. */
export interface SendDataRoute {
  readonly initiator: number
  readonly channelId: number
}

/** A whole TPKT packet that carries the joined `parts`; they are copied once. Throws WireError TOO_LARGE. */
export function encodeSendData(
  type: 'send_data_request' | 'send_data_indication',
  route: SendDataRoute,
  ...parts: readonly Uint8Array[]
): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  const mcsBytes = 6 + perLengthBytes(size) + size
  const writer = new Writer(7 + mcsBytes)
  writeX224DataHeader(writer, mcsBytes)
  writeSendDataHeader(writer, type, route, size)
  for (const part of parts) writer.bytes(part)
  return writer.finish()
}

function writeSendDataHeader(
  writer: Writer,
  type: 'send_data_request' | 'send_data_indication',
  route: SendDataRoute,
  size: number,
): Writer {
  const choice = type === 'send_data_request' ? MCS.SEND_DATA_REQUEST : MCS.SEND_DATA_INDICATION
  writeUserId(writer.u8(choice << 2), route.initiator)
    .u16be(route.channelId)
    .u8(PRIORITY_AND_SEGMENTATION)
  return writePerLength(writer, size)
}

function readUserId(reader: Reader): number {
  const offset = reader.u16be('initiator')
  const initiator = offset + USER_ID_BASE
  if (initiator > 0xffff) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'user id is above 65535', {
      structure: reader.structure,
      field: 'initiator',
      received: initiator,
      expected: 0xffff,
    })
  }
  return initiator
}

function writeUserId(writer: Writer, initiator: number): Writer {
  return writer.u16be(initiator - USER_ID_BASE)
}
