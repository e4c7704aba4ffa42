import { createPublicKey } from 'node:crypto'
import { KeyProviderError } from '@rap/key-provider'
import { publicJwkOf } from '@rap/token-claims'
import { type CryptoKey, generateKeyPair, type JWK } from 'jose'
import type { KeyWrapping, StoredKey } from '../keys/wrapping.ts'

/** Bits of a signing key (NIST SP 800-57 part 1: 128-bit strength). */
const MODULUS_BITS = 3072

/** A signing key as its row holds it. */
export interface KeyMaterial {
  readonly kid: string
  readonly public_jwk: JWK
  readonly wrapped_private_key: StoredKey
}

/** Makes a key. Throws KeyProviderError where it cannot be wrapped: then there is no key. */
export async function makeKey(keys: KeyWrapping): Promise<KeyMaterial> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { modulusLength: MODULUS_BITS, extractable: true })
  const jwk = await publicJwkOf(publicKey)
  const encoded = Buffer.from(await crypto.subtle.exportKey('pkcs8', privateKey))
  try {
    return { kid: jwk.kid, public_jwk: jwk, wrapped_private_key: await keys.wrap(encoded, contextOf(jwk.kid)) }
  } finally {
    encoded.fill(0)
  }
}

/**
 * The private half, which does not leave this process. Throws KeyProviderError with the id of the signing key and of the key
 * that wraps it: an operator has to know which place is away or which key is lost.
 */
export async function openKey(
  keys: KeyWrapping,
  { kid, wrapped_private_key: stored }: KeyMaterial,
): Promise<CryptoKey> {
  const encoded = await unwrap(keys, kid, stored)
  try {
    const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
    return await crypto.subtle.importKey('pkcs8', new Uint8Array(encoded), algorithm, false, ['sign'])
  } finally {
    encoded.fill(0)
  }
}

async function unwrap(keys: KeyWrapping, kid: string, stored: StoredKey): Promise<Buffer> {
  try {
    return await keys.unwrap(stored, contextOf(kid))
  } catch (cause) {
    if (!(cause instanceof KeyProviderError)) throw cause
    const message = `signing key ${kid} is wrapped by ${stored.key_id}, which does not open it: ${cause.message}`
    throw new KeyProviderError(cause.code, message, { ...cause.facts, kid, key_id: stored.key_id }, { cause })
  }
}

/** The public half as workers take it that have no key set: SubjectPublicKeyInfo, PEM. */
export function publicPemOf(jwk: JWK): string {
  return createPublicKey({ key: jwk as never, format: 'jwk' })
    .export({ type: 'spki', format: 'pem' })
    .toString()
}

/** A wrapped key that is moved to another row does not open. */
function contextOf(kid: string): Buffer {
  return Buffer.from(`rap-signing-key-v1\0${kid}`, 'utf8')
}
