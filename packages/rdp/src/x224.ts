import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'
import { encodeNegAnswer, encodeNegReq, type RdpNegAnswer, type RdpNegReq, readNegAnswer, readNegReq } from './nego.ts'
import { decodeTpkt, TPKT_HEADER_BYTES, writeTpktHeader } from './tpkt.ts'

/** High nibble of the TPDU code. Spec: [X224] §13. */
const TPDU = { CONNECTION_REQUEST: 0xe0, CONNECTION_CONFIRM: 0xd0, DISCONNECT_REQUEST: 0x80, DATA: 0xf0 } as const
const DATA_HEADER_BYTES = 3
/** The length indicator is one byte, 255 is reserved, and it does not count itself. */
const MAX_LENGTH_INDICATOR = 254
const COOKIE_PREFIX = 'Cookie: mstshash='

/** Spec: [MS-RDPBCGR] §2.2.1.1; at most one of `cookie` and `routingToken` is there. */
export interface X224ConnectionRequest {
  /** The identifier behind `Cookie: mstshash=`; it often is a user name, so it never leaves the worker. */
  readonly cookie?: string
  /** A load balancer's token, without the trailing CR LF. */
  readonly routingToken?: Uint8Array
  readonly negotiation?: RdpNegReq
}

/** Spec: [MS-RDPBCGR] §2.2.1.2. Without `negotiation` the server speaks RDP 4 or 5.1 security only. */
export interface X224ConnectionConfirm {
  readonly sourceReference: number
  readonly negotiation?: RdpNegAnswer
}

/** Takes a whole TPKT packet. Throws WireError. */
export function decodeX224ConnectionRequest(packet: Uint8Array): X224ConnectionRequest {
  const reader = openTpdu(packet, TPDU.CONNECTION_REQUEST, 'x224Crq')
  reader.skip(4, 'references')
  reader.skip(1, 'classOption')
  const variable = reader.take(reader.remaining, 'variable part')
  const text = variable[0] === 0x01 ? -1 : indexOfCrLf(variable)
  const request: { cookie?: string; routingToken?: Uint8Array; negotiation?: RdpNegReq } = {}
  if (text >= 0) {
    const line = variable.subarray(0, text)
    const cookie = latin1(line)
    if (cookie.startsWith(COOKIE_PREFIX)) request.cookie = cookie.slice(COOKIE_PREFIX.length)
    else request.routingToken = line
  }
  const rest = new Reader(variable, 'rdpNegReq', text < 0 ? 0 : text + 2)
  if (rest.remaining > 0) {
    request.negotiation = readNegReq(rest)
    rest.end()
  }
  return request
}

/** The whole TPKT packet. Throws WireError TOO_LARGE when cookie or token do not fit the length indicator. */
export function encodeX224ConnectionRequest(request: X224ConnectionRequest): Uint8Array {
  if (request.cookie !== undefined && request.routingToken !== undefined) {
    throw new TypeError('a connection request has either a cookie or a routing token')
  }
  const writer = new Writer()
  const line =
    request.cookie === undefined ? request.routingToken : new TextEncoder().encode(COOKIE_PREFIX + request.cookie)
  if (line !== undefined) {
    if (indexOfCrLf(line) >= 0) throw new TypeError('cookie or routing token contains a line end')
    writer.bytes(line).u8(0x0d).u8(0x0a)
  }
  if (request.negotiation !== undefined) writer.bytes(encodeNegReq(request.negotiation))
  return closeTpdu(TPDU.CONNECTION_REQUEST, 0, writer.finish())
}

/** Takes a whole TPKT packet. Throws WireError. */
export function decodeX224ConnectionConfirm(packet: Uint8Array): X224ConnectionConfirm {
  const reader = openTpdu(packet, TPDU.CONNECTION_CONFIRM, 'x224Ccf')
  reader.skip(2, 'destinationReference')
  const sourceReference = reader.u16be('sourceReference')
  reader.skip(1, 'classOption')
  if (reader.remaining === 0) return { sourceReference }
  const negotiation = readNegAnswer(reader)
  reader.end()
  return { sourceReference, negotiation }
}

export function encodeX224ConnectionConfirm(confirm: X224ConnectionConfirm): Uint8Array {
  const variable = confirm.negotiation === undefined ? new Uint8Array() : encodeNegAnswer(confirm.negotiation)
  return closeTpdu(TPDU.CONNECTION_CONFIRM, confirm.sourceReference, variable)
}

/** X.224 Disconnect Request, reason 0 "not specified". Spec: [X224] §13.5. */
export function encodeX224DisconnectRequest(reason = 0): Uint8Array {
  return writeTpktHeader(new Writer(11), 7).u8(6).u8(TPDU.DISCONNECT_REQUEST).u16be(0).u16be(0).u8(reason).finish()
}

/** What a slow-path packet carries once the connection is up; anything else is refused. */
export type X224Message =
  | { readonly type: 'data'; readonly userData: Uint8Array }
  | { readonly type: 'disconnect'; readonly reason: number }

/**
 * Takes a whole TPKT packet and gives the user data as a view.
 *
 * Spec: [X224] §13.7 (Class 0 Data TPDU: 02 f0 80), §13.5 (Disconnect Request).
 * Throws WireError: TRUNCATED, INVALID_FIELD, UNEXPECTED_MESSAGE, TRAILING_BYTES.
 */
export function decodeX224Message(packet: Uint8Array): X224Message {
  const reader = new Reader(decodeTpkt(packet), 'x224Data')
  const lengthIndicator = reader.u8('lengthIndicator')
  const code = reader.u8('code')
  if (code === TPDU.DATA) {
    const endOfTransmission = reader.u8('endOfTransmission')
    if (lengthIndicator !== 2 || endOfTransmission !== 0x80) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'data TPDU header is not 02 f0 80', {
        structure: 'x224Data',
        field: lengthIndicator === 2 ? 'endOfTransmission' : 'lengthIndicator',
      })
    }
    return { type: 'data', userData: reader.take(reader.remaining, 'userData') }
  }
  if (code === TPDU.DISCONNECT_REQUEST && lengthIndicator === 6) {
    reader.skip(4, 'references')
    const reason = reader.u8('reason')
    reader.end()
    return { type: 'disconnect', reason }
  }
  throw unexpectedCode('x224Data', code, TPDU.DATA)
}

/** A whole TPKT packet around `userData`, which is copied. */
export function encodeX224Data(userData: Uint8Array): Uint8Array {
  const writer = new Writer(TPKT_HEADER_BYTES + DATA_HEADER_BYTES + userData.length)
  return writeX224DataHeader(writer, userData.length).bytes(userData).finish()
}

/** TPKT and X.224 headers in front of `userDataBytes`, which the caller writes next. */
export function writeX224DataHeader(writer: Writer, userDataBytes: number): Writer {
  return writeTpktHeader(writer, DATA_HEADER_BYTES + userDataBytes)
    .u8(2)
    .u8(TPDU.DATA)
    .u8(0x80)
}

function openTpdu(packet: Uint8Array, expected: number, structure: string): Reader {
  const tpdu = decodeTpkt(packet)
  const reader = new Reader(tpdu, structure)
  const lengthIndicator = reader.u8('lengthIndicator')
  if (lengthIndicator !== reader.remaining) {
    throw new WireError(
      reader.remaining < lengthIndicator ? 'ERR_WIRE_TRUNCATED' : 'ERR_WIRE_TRAILING_BYTES',
      'length indicator differs from the bytes that are there',
      { structure, field: 'lengthIndicator', received: reader.remaining, expected: lengthIndicator },
    )
  }
  const code = reader.u8('code')
  // The low nibble is the credit, which class 0 does not use.
  if ((code & 0xf0) !== expected) throw unexpectedCode(structure, code, expected)
  return reader
}

function closeTpdu(code: number, sourceReference: number, variable: Uint8Array): Uint8Array {
  const lengthIndicator = 6 + variable.length
  if (lengthIndicator > MAX_LENGTH_INDICATOR) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'TPDU does not fit its length indicator', {
      structure: 'x224',
      field: 'lengthIndicator',
      received: lengthIndicator,
      expected: MAX_LENGTH_INDICATOR,
    })
  }
  const writer = new Writer(TPKT_HEADER_BYTES + 1 + lengthIndicator)
  writeTpktHeader(writer, 1 + lengthIndicator)
    .u8(lengthIndicator)
    .u8(code)
  return writer.u16be(0).u16be(sourceReference).u8(0).bytes(variable).finish()
}

function unexpectedCode(structure: string, received: number, expected: number): WireError {
  return new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'TPDU is of another kind', {
    structure,
    field: 'code',
    received,
    expected,
  })
}

function indexOfCrLf(bytes: Uint8Array): number {
  for (let index = 0; index + 1 < bytes.length; index++) {
    if (bytes[index] === 0x0d && bytes[index + 1] === 0x0a) return index
  }
  return -1
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}
