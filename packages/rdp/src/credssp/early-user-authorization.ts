import { Reader } from '../cursor.ts'
import { WireError } from '../errors.ts'

/** Bytes of the Early User Authorization Result PDU. */
export const EARLY_USER_AUTHORIZATION_RESULT_BYTES = 4

const AUTHZ_SUCCESS = 0x00000000
const AUTHZ_ACCESS_DENIED = 0x00000005

export type EarlyUserAuthorizationResult = 'success' | 'access_denied'

/**
 * Early User Authorization Result PDU: the server's word, after CredSSP under HYBRID_EX, on who may log on.
 *
 * Spec: [MS-RDPBCGR] §2.2.10.2. Layout: authorizationResult (4, little-endian).
 * Throws WireError: TRUNCATED, TRAILING_BYTES, INVALID_FIELD (an unknown result never counts as success).
 */
export function decodeEarlyUserAuthorizationResult(bytes: Uint8Array): EarlyUserAuthorizationResult {
  const structure = 'EarlyUserAuthorizationResult'
  const reader = new Reader(bytes, structure)
  const received = reader.u32le('authorizationResult')
  reader.end()
  if (received === AUTHZ_SUCCESS) return 'success'
  if (received === AUTHZ_ACCESS_DENIED) return 'access_denied'
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'authorization result is unknown', {
    structure,
    field: 'authorizationResult',
    received,
  })
}
