import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK, type JWK } from 'jose'
import { TokenError } from './errors.ts'

/** Longest proof that is looked at, in characters. */
export const MAX_PROOF_CHARACTERS = 2048
/** How old or how new a proof may be, in seconds. */
export const PROOF_WINDOW_SECONDS = 60

const Coordinate = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })
const ProofHeader = Type.Object(
  {
    typ: Type.Literal('dpop+jwt'),
    alg: Type.Literal('ES256'),
    // Only public members: a proof that carries its own private key proves nothing (RFC 9449 §4.2).
    jwk: Type.Object(
      { kty: Type.Literal('EC'), crv: Type.Literal('P-256'), x: Coordinate, y: Coordinate },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
)
const ProofClaims = Type.Object(
  {
    jti: Type.String({ minLength: 16, maxLength: 64, pattern: '^[A-Za-z0-9_-]+$' }),
    iat: Type.Integer(),
    htm: Type.Literal('GET'),
    htu: Type.String({ maxLength: 512 }),
    ath: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
  },
  { additionalProperties: false },
)

export interface ProofOptions {
  /** The token that the proof stands for. */
  readonly token: string
  /** The token's `cnf.jkt`. */
  readonly jkt: string
  /** The URLs that this end answers for. */
  readonly urls: readonly string[]
  readonly nowSeconds: number
}

/**
 * Verifies a DPoP proof (RFC 9449 §4.3) and returns its `jti` and `htu`.
 *
 * The key is the one that the token names, the hash is the token's, the URL is one of ours, the time is now.
 * Throws TokenError. The token is for one bind, so a proof cannot be replayed without a second token.
 */
export async function verifyDpopProof(proof: string, options: ProofOptions): Promise<{ jti: string; htu: string }> {
  if (typeof proof !== 'string' || proof.length > MAX_PROOF_CHARACTERS) {
    throw new TokenError('ERR_TOKEN_TOO_LARGE', 'proof is over the bound')
  }
  const { jwk, claims } = await readProof(proof)
  if ((await calculateJwkThumbprint(jwk, 'sha256')) !== options.jkt) {
    throw new TokenError('ERR_PROOF_KEY_MISMATCH', 'proof is made with another key', 'jwk')
  }
  if (claims.ath !== (await accessTokenHash(options.token))) {
    throw new TokenError('ERR_PROOF_TOKEN_MISMATCH', 'proof is for another token', 'ath')
  }
  if (!options.urls.includes(claims.htu))
    throw new TokenError('ERR_PROOF_URL_MISMATCH', 'proof is for another place', 'htu')
  if (Math.abs(options.nowSeconds - claims.iat) > PROOF_WINDOW_SECONDS)
    throw new TokenError('ERR_PROOF_STALE', 'proof is not of now', 'iat')
  return { jti: claims.jti, htu: claims.htu }
}

/** RFC 9449 §4.2 `ath`: base64url of the SHA-256 of the token's ASCII. */
export async function accessTokenHash(token: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))
  return Buffer.from(digest).toString('base64url')
}

/** RFC 7638 thumbprint of a public key, SHA-256, base64url. */
export async function jwkThumbprint(jwk: JWK): Promise<string> {
  return await calculateJwkThumbprint(jwk, 'sha256')
}

async function readProof(
  proof: string,
): Promise<{ jwk: JWK; claims: { jti: string; iat: number; htu: string; ath: string } }> {
  try {
    const header: unknown = decodeProtectedHeader(proof)
    if (!Value.Check(ProofHeader, header))
      throw new TokenError('ERR_TOKEN_HEADER', 'proof header is not that of a DPoP proof')
    const key = await importJWK(header.jwk, 'ES256')
    const { payload } = await compactVerify(proof, key, { algorithms: ['ES256'] })
    const claims: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    if (!Value.Check(ProofClaims, claims))
      throw new TokenError('ERR_TOKEN_CLAIMS', 'proof claims are not those of a DPoP proof')
    return { jwk: header.jwk, claims }
  } catch (cause) {
    if (cause instanceof TokenError) throw cause
    throw new TokenError('ERR_TOKEN_SIGNATURE', 'proof does not verify')
  }
}
