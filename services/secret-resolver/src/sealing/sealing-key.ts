import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { jwkThumbprint } from '@rap/token-claims'
import { type KeyWrapPort, unwrapKey } from '../secrets/key-wrap.ts'
import { SEAL_ALG } from './sealed-secret.ts'

/** Age at which a sealing key is replaced: 90 days. */
export const SEALING_KEY_MAX_AGE_MS = 90 * 24 * 3600 * 1000
/** How long a replaced key still opens what was sealed to it: one day, for clients that had fetched it. */
export const SEALING_KEY_GRACE_MS = 24 * 3600 * 1000

/** What clients seal to (RFC 7517). */
export interface SealingJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  /** The RFC 7638 thumbprint of the key. */
  readonly kid: string
  readonly use: 'enc'
  readonly alg: typeof SEAL_ALG
}

/** A sealing key as it is stored: the private part only, wrapped. */
export interface StoredSealingKey {
  readonly kid: string
  readonly wrappedPrivateKey: Buffer
  readonly keyId: string
}

/** A stored sealing key that does not unwrap, or that is not the key its `kid` says. */
export class SealingKeyError extends Error {
  override readonly name = 'SealingKeyError'
  readonly code = 'ERR_SEALING_KEY_UNUSABLE'

  constructor() {
    super('sealing key does not unwrap to the key of its kid')
  }
}

const generate = promisify(generateKeyPair)

/** Makes a P-256 pair, and wraps the private part with the key `keyId`. INVARIANT: the encoded private key is zero when this returns. */
export async function createSealingKey(keys: Pick<KeyWrapPort, 'wrap'>, keyId: string): Promise<StoredSealingKey> {
  const { privateKey, publicKey } = await generate('ec', { namedCurve: 'P-256' })
  const { kid } = await publicJwkOf(publicKey)
  const encoded = privateKey.export({ format: 'der', type: 'pkcs8' })
  try {
    return { kid, keyId, wrappedPrivateKey: await keys.wrap(keyId, encoded, sealingKeyContext(kid)) }
  } finally {
    encoded.fill(0)
  }
}

/**
 * Unwraps a sealing key and proves that it is the one its `kid` names.
 * Throws SealingKeyError: so a row that was written by somebody else publishes nothing and opens nothing.
 */
export async function openSealingKey(
  stored: StoredSealingKey,
  keys: KeyWrapPort,
): Promise<{ privateKey: KeyObject; jwk: SealingJwk }> {
  const wrapped = { keyId: stored.keyId, wrapped: stored.wrappedPrivateKey }
  const encoded = await unwrapKey(keys, wrapped, sealingKeyContext(stored.kid))
  if (encoded === undefined) throw new SealingKeyError()
  try {
    const privateKey = createPrivateKey({ key: encoded, format: 'der', type: 'pkcs8' })
    const jwk = await publicJwkOf(createPublicKey(privateKey))
    if (jwk.kid !== stored.kid) throw new SealingKeyError()
    return { privateKey, jwk }
  } finally {
    encoded.fill(0)
  }
}

async function publicJwkOf(publicKey: KeyObject): Promise<SealingJwk> {
  const { x, y } = publicKey.export({ format: 'jwk' })
  if (x === undefined || y === undefined) throw new SealingKeyError()
  const point = { kty: 'EC', crv: 'P-256', x, y } as const
  return { ...point, kid: await jwkThumbprint(point), use: 'enc', alg: SEAL_ALG }
}

/** What a private sealing key is bound to while it is wrapped. */
export function sealingKeyContext(kid: string): Buffer {
  return Buffer.from(`rap-sealing-key-v1:${kid}`, 'ascii')
}
