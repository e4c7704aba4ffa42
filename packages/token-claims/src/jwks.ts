import { type CryptoKey, exportJWK, importJWK, importSPKI, type JWK } from 'jose'
import { jwkThumbprint } from './dpop.ts'
import { TokenError, VerificationKeyError } from './errors.ts'
import { ALGORITHM, type KeyLookup } from './token.ts'

/** How long a key set may be kept, in seconds: within it every verifier follows a key that is taken back. */
export const JWKS_MAX_AGE_SECONDS = 30

/** Most keys that a key set may hold; a set is next, active and a few retiring. */
export const MAX_KEYS = 16
/** Fewest bits of an RSA modulus (RFC 7518 §3.3). */
const MIN_MODULUS_BITS = 2048

/** Smallest public exponent (FIPS 186-5 §5.1): with an exponent of 1 anybody can sign. */
const MIN_EXPONENT = 65537n
/** Longest text with public keys, in characters: MAX_KEYS of 4096 bits, and a remark beside each. */
const MAX_PEM_CHARACTERS = 16_384

/** The keys of a set that can be used, found by their id. */
export type KeySetLookup = KeyLookup & { readonly kids: readonly string[] }

/** A JWK Set (RFC 7517 §5) of RS256 verification keys. */
export interface KeySet {
  readonly keys: readonly JWK[]
}

/** The published form of a verification key; its `kid` is its RFC 7638 thumbprint. */
export async function publicJwkOf(publicKey: CryptoKey): Promise<JWK & { kid: string }> {
  const { kty, n, e } = await exportJWK(publicKey)
  if (kty !== 'RSA' || n === undefined || e === undefined)
    throw new TypeError('a verification key is an RSA public key')
  const jwk: JWK = { kty, n, e }
  return { ...jwk, kid: await jwkThumbprint(jwk), alg: ALGORITHM, use: 'sig' }
}

/**
 * Turns a fetched key set into a lookup.
 * Keys of another kind, another use or too few bits are left out, so that a widened set weakens nothing.
 * Throws TokenError ERR_TOKEN_MALFORMED where the document is not a key set or holds too many keys.
 */
export async function keyLookupOf(document: unknown): Promise<KeySetLookup> {
  const keys = (document as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys) || keys.length > MAX_KEYS)
    throw new TokenError('ERR_TOKEN_MALFORMED', 'document is not a key set', 'keys')
  const byKid = new Map<string, CryptoKey>()
  for (const jwk of keys as JWK[]) {
    if (
      jwk?.kty !== 'RSA' ||
      jwk.alg !== ALGORITHM ||
      jwk.use !== 'sig' ||
      typeof jwk.kid !== 'string' ||
      jwk.d !== undefined
    )
      continue
    if (isStrong(jwk)) byKid.set(jwk.kid, (await importJWK(jwk, ALGORITHM)) as CryptoKey)
  }
  return lookupIn(byKid)
}

/**
 * The lookup of a verifier that is given its keys as text: one or more SubjectPublicKeyInfo in PEM (RFC 7468 §13); what
 * stands between them is not read.
 *
 * Throws VerificationKeyError for anything but usable RSA public keys, and so for a private key, which is an operator's mistake.
 * INVARIANT: no error holds anything of the text.
 */
export async function keyLookupOfPem(pem: string): Promise<KeySetLookup> {
  const byKid = new Map<string, CryptoKey>()
  for (const block of blocksOf(pem)) {
    const { key, jwk } = await readPublicKey(block)
    if (!isStrong(jwk)) throw new VerificationKeyError('ERR_VERIFICATION_KEY_WEAK', WEAK)
    byKid.set(jwk.kid, key)
  }
  if (byKid.size === 0 || byKid.size > MAX_KEYS)
    throw new VerificationKeyError('ERR_VERIFICATION_KEY_COUNT', `text holds no public key, or more than ${MAX_KEYS}`)
  return lookupIn(byKid)
}

const WEAK = `public key is weak: ${MIN_MODULUS_BITS} bits and the exponent ${MIN_EXPONENT} are the least`

function lookupIn(byKid: ReadonlyMap<string, CryptoKey>): KeySetLookup {
  return Object.assign((kid: string) => byKid.get(kid), { kids: [...byKid.keys()] })
}

function blocksOf(pem: string): string[] {
  if (pem.length > MAX_PEM_CHARACTERS)
    throw new VerificationKeyError('ERR_VERIFICATION_KEY_INVALID', 'text with public keys is too long')
  if (/PRIVATE KEY-----/i.test(pem)) {
    const message = 'text holds a private key; only the public one belongs here, and the private one is to be replaced'
    throw new VerificationKeyError('ERR_VERIFICATION_KEY_PRIVATE', message)
  }
  const blocks = pem.match(/-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----/g) ?? []
  if (blocks.length !== pem.split('-----BEGIN').length - 1)
    throw new VerificationKeyError(
      'ERR_VERIFICATION_KEY_INVALID',
      'text holds something that is not a PUBLIC KEY block',
    )
  return blocks
}

async function readPublicKey(block: string): Promise<{ key: CryptoKey; jwk: JWK & { kid: string } }> {
  try {
    const key = await importSPKI(block, ALGORITHM, { extractable: true })
    return { key, jwk: await publicJwkOf(key) }
  } catch {
    // The parser's error is dropped: it may describe the text.
    throw new VerificationKeyError('ERR_VERIFICATION_KEY_INVALID', 'public key is not an RSA key in PEM')
  }
}

function isStrong({ n, e }: JWK): boolean {
  return bitsOf(n) >= MIN_MODULUS_BITS && numberOf(e) >= MIN_EXPONENT
}

function bitsOf(base64url: unknown): number {
  return numberOf(base64url).toString(2).length
}

function numberOf(base64url: unknown): bigint {
  if (typeof base64url !== 'string') return 0n
  return BigInt(`0x0${Buffer.from(base64url, 'base64url').toString('hex')}`)
}
