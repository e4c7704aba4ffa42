import { base64url, SignJWT } from 'jose'

/** Public half of a P-256 key (RFC 7518 §6.2), with the members a thumbprint is made of and no other. */
export interface PublicJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
}

/**
 * The key of one session: a data-plane token is worth nothing without it (RFC 9449).
 * INVARIANT: the private half cannot be exported and never leaves WebCrypto.
 */
export interface SessionKey {
  readonly publicJwk: PublicJwk
  /** RFC 7638 thumbprint, SHA-256, base64url: the server puts it into the token as `cnf.jkt`. */
  readonly thumbprint: string
  readonly privateKey: CryptoKey
}

async function sha256(text: string): Promise<string> {
  return base64url.encode(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))))
}

/** Makes a fresh ES256 key. A browser offers WebCrypto in secure contexts alone: https, or localhost. */
export async function generateSessionKey(): Promise<SessionKey> {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify'])
  const { x = '', y = '' } = await crypto.subtle.exportKey('jwk', pair.publicKey)
  const publicJwk: PublicJwk = { kty: 'EC', crv: 'P-256', x, y }
  // RFC 7638 §3.2: the required members in lexicographic order, without white space.
  const thumbprint = await sha256(JSON.stringify({ crv: publicJwk.crv, kty: publicJwk.kty, x, y }))
  return { publicJwk, thumbprint, privateKey: pair.privateKey }
}

export interface ProofInput {
  /** The data-plane token that the proof stands for. */
  readonly token: string
  /** The WebSocket URL that is bound to. */
  readonly url: string
  /** Time as the server has it, in seconds since the epoch. */
  readonly nowSeconds: number
}

/** A DPoP proof (RFC 9449 §4.2): for one token, one URL and this minute. */
export async function makeProof(key: SessionKey, { token, url, nowSeconds }: ProofInput): Promise<string> {
  const jti = base64url.encode(crypto.getRandomValues(new Uint8Array(16)))
  return await new SignJWT({ jti, iat: nowSeconds, htm: 'GET', htu: url, ath: await sha256(token) })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: { ...key.publicJwk } })
    .sign(key.privateKey)
}
