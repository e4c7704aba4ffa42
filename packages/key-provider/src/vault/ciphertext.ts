import { KeyProviderError } from '../errors.ts'

/** What Transit writes in front of a version: `vault:v3:` and then base64. OpenBao writes the same word. */
const CIPHERTEXT = /^vault:v([1-9][0-9]{0,8}):(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** A data key of 4096 bytes with nonce and tag is below 5,600 characters; XChaCha20's nonce is 12 bytes longer. */
export const MAX_CIPHERTEXT_BYTES = 6144

/** The version that made this ciphertext, or undefined where it is none of Transit's. */
export function ciphertextVersion(wrapped: Buffer): number | undefined {
  if (wrapped.length > MAX_CIPHERTEXT_BYTES) return undefined
  const version = CIPHERTEXT.exec(wrapped.toString('latin1'))?.[1]
  return version === undefined ? undefined : Number(version)
}

const VERSION = /^v([1-9][0-9]{0,8})$/

export function keyIdOf(name: string, version: number): string {
  return `${name}:v${version}`
}

/** The version that a key id of this source names, or undefined where the id is not the source's. */
export function versionOfKeyId(name: string, keyId: string): number | undefined {
  if (!keyId.startsWith(`${name}:`)) return undefined
  const version = VERSION.exec(keyId.slice(name.length + 1))?.[1]
  return version === undefined ? undefined : Number(version)
}

/** What a caller sees of everything that does not open. */
export function unwrapFailed(keyId: string): KeyProviderError {
  return new KeyProviderError('ERR_KEY_UNWRAP_FAILED', 'wrapped key does not open', { key_id: keyId })
}
