import { type Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.1.1 requestedProtocols, §2.2.1.2.1 selectedProtocol. */
export const PROTOCOL = { RDP: 0x0, SSL: 0x1, HYBRID: 0x2, RDSTLS: 0x4, HYBRID_EX: 0x8, RDSAAD: 0x10 } as const

/** Flags of RDP_NEG_REQ. The relay and the worker never set the first two: both would log on without our credential. */
export const NEG_REQ_FLAG = {
  RESTRICTED_ADMIN_MODE_REQUIRED: 0x01,
  REDIRECTED_AUTHENTICATION_MODE_REQUIRED: 0x02,
  CORRELATION_INFO_PRESENT: 0x08,
} as const

/** Spec: [MS-RDPBCGR] §2.2.1.2.2 failureCode. */
export const NEG_FAILURE = {
  SSL_REQUIRED_BY_SERVER: 1,
  SSL_NOT_ALLOWED_BY_SERVER: 2,
  SSL_CERT_NOT_ON_SERVER: 3,
  INCONSISTENT_FLAGS: 4,
  HYBRID_REQUIRED_BY_SERVER: 5,
  SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER: 6,
} as const

const TYPE_RDP_NEG_REQ = 0x01
const TYPE_RDP_NEG_RSP = 0x02
const TYPE_RDP_NEG_FAILURE = 0x03
const TYPE_RDP_CORRELATION_INFO = 0x06
const NEG_BYTES = 8
const CORRELATION_INFO_BYTES = 36

export interface RdpNegReq {
  readonly flags: number
  readonly requestedProtocols: number
  /** 16 bytes; there exactly when CORRELATION_INFO_PRESENT is set. */
  readonly correlationId?: Uint8Array
}

export type RdpNegAnswer =
  | { readonly type: 'response'; readonly flags: number; readonly selectedProtocol: number }
  | { readonly type: 'failure'; readonly failureCode: number }

/** RDP_NEG_REQ and RDP_NEG_CORRELATION_INFO. Spec: [MS-RDPBCGR] §2.2.1.1.1, §2.2.1.1.2. */
export function readNegReq(reader: Reader): RdpNegReq {
  expectField(reader, 'type', reader.u8('type'), TYPE_RDP_NEG_REQ)
  const flags = reader.u8('flags')
  expectField(reader, 'length', reader.u16le('length'), NEG_BYTES)
  const requestedProtocols = reader.u32le('requestedProtocols')
  if ((flags & NEG_REQ_FLAG.CORRELATION_INFO_PRESENT) === 0) return { flags, requestedProtocols }
  expectField(reader, 'correlationInfo.type', reader.u8('correlationInfo.type'), TYPE_RDP_CORRELATION_INFO)
  reader.skip(1, 'correlationInfo.flags')
  expectField(reader, 'correlationInfo.length', reader.u16le('correlationInfo.length'), CORRELATION_INFO_BYTES)
  const correlationId = reader.take(16, 'correlationInfo.correlationId')
  reader.skip(16, 'correlationInfo.reserved')
  return { flags, requestedProtocols, correlationId }
}

export function encodeNegReq(request: RdpNegReq): Uint8Array {
  const { correlationId } = request
  if (correlationId !== undefined && correlationId.length !== 16) throw new TypeError('correlationId is not 16 bytes')
  const flags =
    (request.flags & ~NEG_REQ_FLAG.CORRELATION_INFO_PRESENT) |
    (correlationId === undefined ? 0 : NEG_REQ_FLAG.CORRELATION_INFO_PRESENT)
  const writer = new Writer(NEG_BYTES + CORRELATION_INFO_BYTES)
  writer.u8(TYPE_RDP_NEG_REQ).u8(flags).u16le(NEG_BYTES).u32le(request.requestedProtocols)
  if (correlationId !== undefined) {
    writer.u8(TYPE_RDP_CORRELATION_INFO).u8(0).u16le(CORRELATION_INFO_BYTES).bytes(correlationId).zeros(16)
  }
  return writer.finish()
}

/** RDP_NEG_RSP or RDP_NEG_FAILURE. Spec: [MS-RDPBCGR] §2.2.1.2.1, §2.2.1.2.2. Unknown failure codes are kept. */
export function readNegAnswer(reader: Reader): RdpNegAnswer {
  const type = reader.u8('type')
  const flags = reader.u8('flags')
  expectField(reader, 'length', reader.u16le('length'), NEG_BYTES)
  const value = reader.u32le(type === TYPE_RDP_NEG_FAILURE ? 'failureCode' : 'selectedProtocol')
  if (type === TYPE_RDP_NEG_RSP) return { type: 'response', flags, selectedProtocol: value }
  if (type === TYPE_RDP_NEG_FAILURE) return { type: 'failure', failureCode: value }
  throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'negotiation structure is neither response nor failure', {
    structure: reader.structure,
    field: 'type',
    received: type,
  })
}

export function encodeNegAnswer(answer: RdpNegAnswer): Uint8Array {
  const writer = new Writer(NEG_BYTES)
  if (answer.type === 'response') {
    writer.u8(TYPE_RDP_NEG_RSP).u8(answer.flags).u16le(NEG_BYTES).u32le(answer.selectedProtocol)
  } else {
    writer.u8(TYPE_RDP_NEG_FAILURE).u8(0).u16le(NEG_BYTES).u32le(answer.failureCode)
  }
  return writer.finish()
}

function expectField(reader: Reader, field: string, received: number, expected: number): void {
  if (received === expected) return
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'negotiation field has another value', {
    structure: reader.structure,
    field,
    received,
    expected,
  })
}
