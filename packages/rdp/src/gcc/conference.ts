import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'
import { readPerLength, writePerLength } from '../per.ts'

/** ConnectData key: object identifier 0.0.20.124.0.1 (T.124, version 02/98), in PER with its choice and length. */
const CONNECT_DATA_KEY = Uint8Array.of(0x00, 0x05, 0x00, 0x14, 0x7c, 0x00, 0x01)
const CLIENT_TO_SERVER_KEY = Uint8Array.of(0x44, 0x75, 0x63, 0x61)
const SERVER_TO_CLIENT_KEY = Uint8Array.of(0x4d, 0x63, 0x44, 0x6e)

/** ConnectGCCPDU up to the key: userData present, conference name "1", one set of h221NonStandard data. */
const CREATE_REQUEST_HEADER = Uint8Array.of(0x00, 0x08, 0x00, 0x10, 0x00, 0x01, 0xc0, 0x00)
const NODE_ID_BASE = 1001

/** Spec: [T.124] §8.7; [MS-RDPBCGR] §2.2.1.4 gccCCrsp. */
export interface GccConferenceCreateResponse {
  readonly nodeId: number
  readonly tag: number
  readonly result: number
  /** The server settings blocks. */
  readonly userData: Uint8Array
}

/**
 * The client settings blocks inside a GCC Conference Create Request, as a view.
 *
 * Spec: [T.124] §8.7; [MS-RDPBCGR] §2.2.1.3 gccCCrq. Every RDP client writes the same header, so it is compared.
 * The connectPDU length is not used: [MS-RDPBCGR] §4.1.4 shows a real one that is wrong.
 * Throws WireError: TRUNCATED, INVALID_FIELD, TRAILING_BYTES.
 */
export function decodeConferenceCreateRequest(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes, 'gccCCrq')
  expectBytes(reader, CONNECT_DATA_KEY, 'key')
  readPerLength(reader, 'connectPDU')
  expectBytes(reader, CREATE_REQUEST_HEADER, 'conferenceCreateRequest')
  expectBytes(reader, CLIENT_TO_SERVER_KEY, 'h221NonStandard')
  const userData = reader.take(readPerLength(reader, 'userData'), 'userData')
  reader.end()
  return userData
}

export function encodeConferenceCreateRequest(userData: Uint8Array): Uint8Array {
  const pdu = new Writer(16 + userData.length).bytes(CREATE_REQUEST_HEADER).bytes(CLIENT_TO_SERVER_KEY)
  writePerLength(pdu, userData.length).bytes(userData)
  return encodeConnectData(pdu)
}

/** Throws WireError: TRUNCATED, INVALID_FIELD, UNEXPECTED_MESSAGE, TRAILING_BYTES. */
export function decodeConferenceCreateResponse(bytes: Uint8Array): GccConferenceCreateResponse {
  const reader = new Reader(bytes, 'gccCCrsp')
  expectBytes(reader, CONNECT_DATA_KEY, 'key')
  readPerLength(reader, 'connectPDU')
  const choice = reader.u8('choice')
  // Choice 1 of 8 in three bits behind the extension bit, then "userData is present".
  if (choice !== 0x14) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'GCC PDU is no conference create response with user data', {
      structure: 'gccCCrsp',
      field: 'choice',
      received: choice,
      expected: 0x14,
    })
  }
  const nodeId = reader.u16be('nodeID') + NODE_ID_BASE
  const tagBytes = reader.take(readPerLength(reader, 'tag'), 'tag')
  if (tagBytes.length === 0 || tagBytes.length > 4) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'number is empty or too long', {
      structure: 'gccCCrsp',
      field: 'tag',
      received: tagBytes.length,
    })
  }
  const tag = tagBytes.reduce((value, byte) => value * 256 + byte, 0)
  const result = reader.u8('result')
  expectBytes(reader, Uint8Array.of(0x01, 0xc0, 0x00), 'userData sets')
  expectBytes(reader, SERVER_TO_CLIENT_KEY, 'h221NonStandard')
  const userData = reader.take(readPerLength(reader, 'userData'), 'userData')
  reader.end()
  return { nodeId, tag, result, userData }
}

export function encodeConferenceCreateResponse(response: GccConferenceCreateResponse): Uint8Array {
  const tag: number[] = []
  let rest = response.tag
  do {
    tag.unshift(rest % 256)
    rest = Math.floor(rest / 256)
  } while (rest > 0)
  const pdu = new Writer(24 + response.userData.length).u8(0x14).u16be(response.nodeId - NODE_ID_BASE)
  writePerLength(pdu, tag.length).bytes(Uint8Array.from(tag)).u8(response.result)
  pdu.u8(0x01).u8(0xc0).u8(0x00).bytes(SERVER_TO_CLIENT_KEY)
  writePerLength(pdu, response.userData.length).bytes(response.userData)
  return encodeConnectData(pdu)
}

function encodeConnectData(pdu: Writer): Uint8Array {
  const writer = new Writer(CONNECT_DATA_KEY.length + 2 + pdu.length).bytes(CONNECT_DATA_KEY)
  return writePerLength(writer, pdu.length).bytes(pdu.finish()).finish()
}

function expectBytes(reader: Reader, expected: Uint8Array, field: string): void {
  const received = reader.take(expected.length, field)
  if (expected.every((byte, index) => received[index] === byte)) return
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'constant part has other bytes', {
    structure: reader.structure,
    field,
  })
}
