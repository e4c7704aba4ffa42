import { type CryptoKey, exportJWK, importJWK, importSPKI, type JWK } from 'jose'
import { jwkThumbprint } from './dpop.ts'
import { TokenError } from './errors.ts'
import { ALGORITHM, type KeyLookup } from './token.ts'

/** Most keys that a key set may hold; a set is next, active and a few retiring. */
export const MAX_KEYS = 16
/** Fewest bits of an RSA modulus (RFC 7518 §3.3). */
const MIN_MODULUS_BITS = 2048

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
export async function keyLookupOf(document: unknown): Promise<KeyLookup & { readonly kids: readonly string[] }> {
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
    if (typeof jwk.n !== 'string' || Buffer.from(jwk.n, 'base64url').length * 8 < MIN_MODULUS_BITS) continue
    byKid.set(jwk.kid, (await importJWK(jwk, ALGORITHM)) as CryptoKey)
  }
  return Object.assign((kid: string) => byKid.get(kid), { kids: [...byKid.keys()] })
}

/** The lookup of a worker that is given a PEM file (SubjectPublicKeyInfo) and no key set. */
export async function keyLookupOfPem(pem: string): Promise<KeyLookup & { readonly kids: readonly string[] }> {
  const key = await importSPKI(pem, ALGORITHM, { extractable: true })
  return await keyLookupOf({ keys: [await publicJwkOf(key)] })
}
