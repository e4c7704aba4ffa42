import { DerReader, derExplicit, derFrameSize, derInteger, derOctetString, derSequence } from '../der.ts'
import { WireError } from '../errors.ts'

/** 64 KiB bounds the memory that one server can take before it is authenticated. */
export const MAX_TS_REQUEST_BYTES = 65_536
const SEQUENCE_TAG = 0x30
const STRUCTURE = 'TSRequest'

/** TSRequest of [MS-CSSP] §2.2.1. */
export interface TsRequest {
  readonly version: number
  /** The one token of negoTokens. */
  readonly negoToken?: Uint8Array
  readonly authInfo?: Uint8Array
  readonly pubKeyAuth?: Uint8Array
  /** NTSTATUS, unsigned 32 bits. */
  readonly errorCode?: number
  /** 32 bytes. */
  readonly clientNonce?: Uint8Array
}

/**
 * Size in bytes of the TSRequest at the start of `buffered`, or undefined while it cannot be told.
 *
 * Throws WireError: INVALID_FIELD (not a SEQUENCE, length form), TOO_LARGE (above 64 KiB).
 */
export function tsRequestSize(buffered: Uint8Array): number | undefined {
  const tag = buffered[0]
  if (tag !== undefined && tag !== SEQUENCE_TAG) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'message is not a sequence', {
      structure: STRUCTURE,
      received: tag,
      expected: SEQUENCE_TAG,
    })
  }
  return derFrameSize(buffered, STRUCTURE, MAX_TS_REQUEST_BYTES)
}

export function encodeTsRequest(request: TsRequest): Uint8Array {
  const fields = [derExplicit(0, derInteger(request.version))]
  if (request.negoToken !== undefined) {
    const negoDataItem = derSequence(derExplicit(0, derOctetString(request.negoToken)))
    fields.push(derExplicit(1, derSequence(negoDataItem)))
  }
  if (request.authInfo !== undefined) fields.push(derExplicit(2, derOctetString(request.authInfo)))
  if (request.pubKeyAuth !== undefined) fields.push(derExplicit(3, derOctetString(request.pubKeyAuth)))
  if (request.errorCode !== undefined) fields.push(derExplicit(4, derInteger(request.errorCode | 0)))
  if (request.clientNonce !== undefined) fields.push(derExplicit(5, derOctetString(request.clientNonce)))
  return derSequence(...fields)
}

/**
 * TSRequest of the peer.
 *
 * Spec: [MS-CSSP] §2.2.1, §2.2.1.1 (NegoData; one token, as every implementation sends).
 * Throws WireError like {@link DerReader}.
 */
export function decodeTsRequest(bytes: Uint8Array): TsRequest {
  const reader = new DerReader(bytes, STRUCTURE, { maxBytes: MAX_TS_REQUEST_BYTES })
  const fields = reader.sequence(STRUCTURE)
  reader.end()
  const version = only(fields.explicit(0, 'version'), field => field.integer('version', 0, 0x7fff_ffff))
  const negoToken = optional(fields, 1, 'negoTokens', negoData => {
    const items = negoData.sequence('negoTokens')
    const item = items.sequence('NegoDataItem')
    items.end()
    return only(item, tokens => only(tokens.explicit(0, 'negoToken'), token => token.octetString('negoToken')))
  })
  const authInfo = optional(fields, 2, 'authInfo', field => field.octetString('authInfo'))
  const pubKeyAuth = optional(fields, 3, 'pubKeyAuth', field => field.octetString('pubKeyAuth'))
  // An NTSTATUS above 0x7fffffff arrives as a negative number from Windows, as a positive one from others.
  const errorCode = optional(fields, 4, 'errorCode', field => field.integer('errorCode', -(2 ** 31), 2 ** 32 - 1))
  const clientNonce = optional(fields, 5, 'clientNonce', field => field.octetString('clientNonce'))
  fields.end()
  return {
    version,
    ...(negoToken && { negoToken }),
    ...(authInfo && { authInfo }),
    ...(pubKeyAuth && { pubKeyAuth }),
    ...(errorCode !== undefined && { errorCode: errorCode >>> 0 }),
    ...(clientNonce && { clientNonce }),
  }
}

function optional<T>(fields: DerReader, tag: number, name: string, read: (field: DerReader) => T): T | undefined {
  const field = fields.optionalExplicit(tag, name)
  return field === undefined ? undefined : only(field, read)
}

/** Refuses anything behind the one element that `read` takes. */
function only<T>(reader: DerReader, read: (reader: DerReader) => T): T {
  const value = read(reader)
  reader.end()
  return value
}
