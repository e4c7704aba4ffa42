import { type Static, Type } from '@sinclair/typebox'
import { CompactEncrypt, type CryptoKey, importJWK } from 'jose'

/** RFC 7518 §4.6, direct key agreement: the answer opens with the key that the worker made for this one request. */
export const ANSWER_ALG = 'ECDH-ES'
export const ANSWER_ENC = 'A256GCM'
export const ANSWER_TYP = 'rap-credential+jwe'

const Coordinate = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** The worker's fresh public key; closed, so that a private key that is sent by mistake is refused and not logged. */
export const RecipientJwk = Type.Object(
  { kty: Type.Literal('EC'), crv: Type.Literal('P-256'), x: Coordinate, y: Coordinate },
  { additionalProperties: false },
)
export type RecipientJwk = Static<typeof RecipientJwk>

/** The key, or undefined where the coordinates are no point of the curve. */
export async function importRecipientKey(jwk: RecipientJwk): Promise<CryptoKey | undefined> {
  try {
    return (await importJWK(jwk, ANSWER_ALG)) as CryptoKey
  } catch {
    return undefined
  }
}

/**
 * Encrypts the payload bytes as they are (RFC 7516 compact serialization). `apv` is the `jti` of the lease token, so that
 * an answer belongs to one request. The caller zeroes `payload`.
 */
export async function encryptAnswer(payload: Buffer, recipient: CryptoKey, jti: string): Promise<string> {
  return await new CompactEncrypt(payload)
    .setProtectedHeader({ alg: ANSWER_ALG, enc: ANSWER_ENC, typ: ANSWER_TYP })
    .setKeyManagementParameters({ apv: Buffer.from(jti, 'ascii') })
    .encrypt(recipient)
}
