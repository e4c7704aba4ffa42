import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { accessTokenHash, keyLookupOf, publicJwkOf, type SigningKey, type UnsignedClaims } from '../src/index.ts'

export const NOW = 1_790_000_000
export const ISSUER = 'https://rap.internal/control-plane'
export const JTI = 'jti-0123456789abcdef'
const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export async function signer(): Promise<SigningKey & { publicKey: CryptoKey }> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  return { kid: (await publicJwkOf(publicKey)).kid, privateKey, publicKey }
}

export async function keysOf(...keys: CryptoKey[]) {
  return await keyLookupOf({ keys: await Promise.all(keys.map(publicJwkOf)) })
}

export const place = {
  organization_id: id(1),
  resource_id: id(2),
  worker_id: id(3),
  session_id: id(4),
  attachment_id: id(5),
}

export const dataPlaneClaims = (jkt = 'a'.repeat(43)): UnsignedClaims<'data_plane'> => ({
  ...place,
  sub: id(6),
  allowed_channels: ['display', 'input'],
  cnf: { jkt },
})

export async function proofKey() {
  return await generateKeyPair('ES256', { extractable: true })
}

/** A proof as a client makes it, every part replaceable, so that a test can make it wrong in one way. */
export async function makeProof(
  pair: { privateKey: CryptoKey; publicKey: CryptoKey },
  token: string,
  change: { claims?: Record<string, unknown>; header?: Record<string, unknown> } = {},
): Promise<string> {
  const { kty, crv, x, y } = await exportJWK(pair.publicKey)
  const claims = {
    jti: JTI,
    iat: NOW,
    htm: 'GET',
    htu: 'wss://w.example/data-plane/v1',
    ath: await accessTokenHash(token),
  }
  return await new SignJWT({ ...claims, ...change.claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: { kty, crv, x, y } as never, ...change.header })
    .sign(pair.privateKey)
}
