import {
  contextTag,
  DerReader,
  derExplicit,
  derFrameSize,
  derInteger,
  derOctetString,
  derSequence,
  derUtf8String,
  MAX_DER_BYTES,
} from './der.ts'
import { WireError } from './errors.ts'

/** The only version there is: 3389 + 1. */
export const RDCLEANPATH_VERSION = 3390
/** Whole request, in bytes; a token and a proof of 4 KiB each fit twice over. */
export const MAX_RDCLEANPATH_REQUEST_BYTES = 16_384
/** Either X.224 PDU, in bytes. */
export const MAX_RDCLEANPATH_X224_BYTES = 512
const MAX_CERTIFICATES = 16

export const RDCLEANPATH_ERROR = { GENERAL: 1, NEGOTIATION: 2 } as const

/** What a client asks the proxy for. */
export interface RdCleanPathRequest {
  readonly destination: string
  readonly proxyAuth: string
  readonly serverAuth?: string
  readonly preconnectionBlob?: string
  /** The client's X.224 Connection Request, as a TPKT packet; a VMConnect request has none. */
  readonly x224ConnectionPdu?: Uint8Array
}

export interface RdCleanPathResponse {
  readonly type: 'response'
  /** Shown to the user by some clients; it is chosen by the proxy and need not be an address. */
  readonly serverAddr: string
  /** The X.224 Connection Confirm, as a TPKT packet. */
  readonly x224ConnectionPdu?: Uint8Array
  /** DER certificates, the server's own first. */
  readonly serverCertChain: readonly Uint8Array[]
}

export interface RdCleanPathFailure {
  readonly type: 'error'
  readonly errorCode: number
  readonly httpStatusCode?: number
  readonly wsaLastError?: number
  readonly tlsAlertCode?: number
  /** The X.224 Connection Confirm with the negotiation failure, when errorCode is NEGOTIATION. */
  readonly x224ConnectionPdu?: Uint8Array
}

export type RdCleanPathAnswer = RdCleanPathResponse | RdCleanPathFailure

/**
 * Size in bytes of the request that `buffered` begins with, or undefined while that cannot be told.
 *
 * Throws WireError: INVALID_FIELD (no DER sequence), TOO_LARGE (above 16 KiB).
 */
export function rdCleanPathRequestSize(buffered: Uint8Array): number | undefined {
  const first = buffered[0]
  if (first !== undefined && first !== 0x30) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'message is no RDCleanPath PDU', {
      structure: 'RDCleanPathPdu',
      received: first,
      expected: 0x30,
    })
  }
  return derFrameSize(buffered, 'RDCleanPathPdu', MAX_RDCLEANPATH_REQUEST_BYTES)
}

/**
 * Takes one whole request.
 *
 * Spec: RDCleanPath of Devolutions: a DER SEQUENCE with EXPLICIT context tags, fields in ascending order.
 * Throws WireError: TRUNCATED, INVALID_FIELD, TOO_LARGE, UNSUPPORTED_VERSION, UNEXPECTED_MESSAGE, TRAILING_BYTES.
 */
export function decodeRdCleanPathRequest(bytes: Uint8Array): RdCleanPathRequest {
  const reader = openPdu(bytes, MAX_RDCLEANPATH_REQUEST_BYTES)
  const destination = explicitText(reader, 2, 'destination')
  const proxyAuth = explicitText(reader, 3, 'proxy_auth')
  if (destination === undefined || proxyAuth === undefined) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'PDU is no request', {
      structure: 'RDCleanPathPdu',
      field: destination === undefined ? 'destination' : 'proxy_auth',
    })
  }
  const serverAuth = explicitText(reader, 4, 'server_auth')
  const preconnectionBlob = explicitText(reader, 5, 'preconnection_blob')
  const x224ConnectionPdu = explicitX224(reader)
  reader.end()
  return {
    destination,
    proxyAuth,
    ...(serverAuth !== undefined && { serverAuth }),
    ...(preconnectionBlob !== undefined && { preconnectionBlob }),
    ...(x224ConnectionPdu !== undefined && { x224ConnectionPdu }),
  }
}

export function encodeRdCleanPathRequest(request: RdCleanPathRequest): Uint8Array {
  return encodePdu(
    derExplicit(2, derUtf8String(request.destination)),
    derExplicit(3, derUtf8String(request.proxyAuth)),
    optional(request.serverAuth, text => derExplicit(4, derUtf8String(text))),
    optional(request.preconnectionBlob, text => derExplicit(5, derUtf8String(text))),
    optional(request.x224ConnectionPdu, pdu => derExplicit(6, derOctetString(pdu))),
  )
}

/** Takes one whole answer of a proxy. Throws as `decodeRdCleanPathRequest`. */
export function decodeRdCleanPathAnswer(bytes: Uint8Array): RdCleanPathAnswer {
  const reader = openPdu(bytes, MAX_DER_BYTES)
  const error = reader.optionalExplicit(1, 'error')
  if (error !== undefined) {
    const failure = readFailure(error)
    const x224ConnectionPdu = explicitX224(reader)
    reader.end()
    return x224ConnectionPdu === undefined ? failure : { ...failure, x224ConnectionPdu }
  }
  const x224ConnectionPdu = explicitX224(reader)
  const serverCertChain: Uint8Array[] = []
  const chain = reader.optionalExplicit(7, 'server_cert_chain')
  if (chain !== undefined) {
    const certificates = chain.sequence('server_cert_chain')
    while (certificates.remaining > 0) {
      if (serverCertChain.length === MAX_CERTIFICATES) {
        throw new WireError('ERR_WIRE_TOO_LARGE', 'too many certificates', {
          structure: 'RDCleanPathPdu',
          field: 'server_cert_chain',
          expected: MAX_CERTIFICATES,
        })
      }
      serverCertChain.push(certificates.octetString('server_cert_chain'))
    }
    chain.end()
  }
  const serverAddr = explicitText(reader, 9, 'server_addr')
  reader.end()
  if (serverAddr === undefined) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'PDU is neither response nor error', {
      structure: 'RDCleanPathPdu',
      field: 'server_addr',
    })
  }
  return { type: 'response', serverAddr, serverCertChain, ...(x224ConnectionPdu && { x224ConnectionPdu }) }
}

export function encodeRdCleanPathAnswer(answer: RdCleanPathAnswer): Uint8Array {
  const x224 = optional(answer.x224ConnectionPdu, pdu => derExplicit(6, derOctetString(pdu)))
  if (answer.type === 'response') {
    const chain = derSequence(...answer.serverCertChain.map(certificate => derOctetString(certificate)))
    return encodePdu(x224, derExplicit(7, chain), derExplicit(9, derUtf8String(answer.serverAddr)))
  }
  const error = derSequence(
    derExplicit(0, derInteger(answer.errorCode)),
    optional(answer.httpStatusCode, code => derExplicit(1, derInteger(code))),
    optional(answer.wsaLastError, code => derExplicit(2, derInteger(code))),
    optional(answer.tlsAlertCode, code => derExplicit(3, derInteger(code))),
  )
  return encodePdu(derExplicit(1, error), x224)
}

function openPdu(bytes: Uint8Array, maxBytes: number): DerReader {
  const outer = new DerReader(bytes, 'RDCleanPathPdu', { maxBytes })
  const reader = outer.sequence('pdu')
  outer.end()
  const version = reader.explicit(0, 'version')
  const received = version.integer('version', 0, Number.MAX_SAFE_INTEGER)
  version.end()
  if (received !== RDCLEANPATH_VERSION) {
    throw new WireError('ERR_WIRE_UNSUPPORTED_VERSION', 'RDCleanPath version is not 3390', {
      structure: 'RDCleanPathPdu',
      field: 'version',
      received,
      expected: RDCLEANPATH_VERSION,
    })
  }
  return reader
}

function encodePdu(...fields: readonly Uint8Array[]): Uint8Array {
  return derSequence(derExplicit(0, derInteger(RDCLEANPATH_VERSION)), ...fields)
}

function readFailure(error: DerReader): RdCleanPathFailure {
  const fields = error.sequence('error')
  error.end()
  const errorCode = optionalCode(fields, 0, 'error_code', 0xffff)
  const httpStatusCode = optionalCode(fields, 1, 'http_status_code', 0xffff)
  const wsaLastError = optionalCode(fields, 2, 'wsa_last_error', 0xffff)
  const tlsAlertCode = optionalCode(fields, 3, 'tls_alert_code', 0xff)
  fields.end()
  if (errorCode === undefined) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'error has no code', {
      structure: 'RDCleanPathPdu',
      field: 'error_code',
    })
  }
  return {
    type: 'error',
    errorCode,
    ...(httpStatusCode !== undefined && { httpStatusCode }),
    ...(wsaLastError !== undefined && { wsaLastError }),
    ...(tlsAlertCode !== undefined && { tlsAlertCode }),
  }
}

function optionalCode(reader: DerReader, tag: number, field: string, max: number): number | undefined {
  if (reader.peek() !== contextTag(tag)) return undefined
  const inner = reader.explicit(tag, field)
  const code = inner.integer(field, 0, max)
  inner.end()
  return code
}

function explicitText(reader: DerReader, tag: number, field: string): string | undefined {
  const inner = reader.optionalExplicit(tag, field)
  if (inner === undefined) return undefined
  const text = inner.utf8String(field)
  inner.end()
  return text
}

function explicitX224(reader: DerReader): Uint8Array | undefined {
  const inner = reader.optionalExplicit(6, 'x224_connection_pdu')
  if (inner === undefined) return undefined
  const pdu = inner.octetString('x224_connection_pdu')
  inner.end()
  if (pdu.length > MAX_RDCLEANPATH_X224_BYTES) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'X.224 PDU is larger than its limit', {
      structure: 'RDCleanPathPdu',
      field: 'x224_connection_pdu',
      received: pdu.length,
      expected: MAX_RDCLEANPATH_X224_BYTES,
    })
  }
  return pdu
}

/** Nothing on the wire for a field that is not there. */
function optional<Value>(value: Value | undefined, encode: (value: Value) => Uint8Array): Uint8Array {
  return value === undefined ? new Uint8Array() : encode(value)
}
