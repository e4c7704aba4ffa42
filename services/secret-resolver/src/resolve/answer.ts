import { createCipheriv, createECDH, createHash, ECDH, randomBytes } from 'node:crypto'
import { type Static, Type } from '@sinclair/typebox'

/** RFC 7518 §4.6, direct key agreement: the answer opens with the key that the worker made for this one request. */
export const ANSWER_ALG = 'ECDH-ES'
export const ANSWER_ENC = 'A256GCM'
export const ANSWER_TYP = 'rap-credential+jwe'

const CURVE = 'prime256v1'
const COORDINATE_BYTES = 32
const KEY_BITS = 256
const IV_BYTES = 12
const TAG_BYTES = 16
/** The sender is known by the connection; the answer does not name it. */
const NO_APU = Buffer.alloc(0)
/** SEC 1 §2.3.3: a point with both coordinates. */
const UNCOMPRESSED = 0x04

const Coordinate = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** The worker's fresh public key; closed, so that a private key that is sent by mistake is refused and not logged. */
export const RecipientJwk = Type.Object(
  { kty: Type.Literal('EC'), crv: Type.Literal('P-256'), x: Coordinate, y: Coordinate },
  { additionalProperties: false },
)
export type RecipientJwk = Static<typeof RecipientJwk>

/** A point of P-256 in its uncompressed form; INVARIANT: it is on the curve. */
export type RecipientKey = Buffer & { readonly __onCurve: true }

/** The key, or undefined where the coordinates are no point of the curve. */
export function importRecipientKey({ x, y }: RecipientJwk): RecipientKey | undefined {
  const point = Buffer.concat([Buffer.of(UNCOMPRESSED), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
  if (point.length !== 1 + 2 * COORDINATE_BYTES) return undefined
  try {
    // OpenSSL reads the point, which fails where it is not on the curve.
    return ECDH.convertKey(point, CURVE, undefined, undefined, 'uncompressed') as RecipientKey
  } catch {
    return undefined
  }
}

/**
 * Encrypts the payload bytes as they are (RFC 7516 compact serialization). `apv` is the `jti` of the lease token, so that
 * an answer belongs to one request. The caller zeroes `payload`. INVARIANT: what the content key was derived from, and
 * the key, are zero when this returns or throws.
 *
 * By hand and not with jose, whose trips through WebCrypto cost more than three times as much
 * (docs/operations/performance.md): jose is what the tests open it with.
 */
export function encryptAnswer(payload: Buffer, recipient: RecipientKey, jti: string): string {
  const apv = Buffer.from(jti, 'ascii')
  const { contentKey, epk } = agree(recipient, apv)
  try {
    const header = { alg: ANSWER_ALG, enc: ANSWER_ENC, typ: ANSWER_TYP, epk, apv: apv.toString('base64url') }
    const protectedHeader = Buffer.from(JSON.stringify(header)).toString('base64url')
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv('aes-256-gcm', contentKey, iv, { authTagLength: TAG_BYTES })
    // RFC 7516 §5.1 step 14.
    cipher.setAAD(Buffer.from(protectedHeader, 'ascii'))
    const ciphertext = Buffer.concat([cipher.update(payload), cipher.final()])
    const [iv64, ciphertext64, tag64] = [iv, ciphertext, cipher.getAuthTag()].map(part => part.toString('base64url'))
    // RFC 7518 §4.6: the encrypted key of a direct agreement is empty.
    return `${protectedHeader}..${iv64}.${ciphertext64}.${tag64}`
  } finally {
    contentKey.fill(0)
  }
}

/** The sender's half of the agreement. The caller zeroes the key. */
function agree(recipient: RecipientKey, apv: Buffer): { contentKey: Buffer; epk: RecipientJwk } {
  const ephemeral = createECDH(CURVE)
  const point = ephemeral.generateKeys()
  const shared = ephemeral.computeSecret(recipient)
  try {
    const [x, y] = [point.subarray(1, 1 + COORDINATE_BYTES), point.subarray(1 + COORDINATE_BYTES)]
    const epk = { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') } as const
    return { contentKey: deriveContentKey(shared, apv), epk }
  } finally {
    shared.fill(0)
  }
}

/** The Concat KDF of RFC 7518 §4.6.2 for A256GCM: one round of SHA-256. The caller zeroes what it gets, and `shared`. */
function deriveContentKey(shared: Buffer, apv: Buffer): Buffer {
  return createHash('sha256')
    .update(uint32(1))
    .update(shared)
    .update(lengthPrefixed(Buffer.from(ANSWER_ENC, 'ascii')))
    .update(lengthPrefixed(NO_APU))
    .update(lengthPrefixed(apv))
    .update(uint32(KEY_BITS))
    .digest()
}

function lengthPrefixed(data: Buffer): Buffer {
  return Buffer.concat([uint32(data.length), data])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
