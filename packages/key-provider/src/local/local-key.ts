import { createSecretKey, randomBytes, timingSafeEqual, webcrypto } from 'node:crypto'
import { KeyProviderError } from '../errors.ts'
import { assertLength } from '../lengths.ts'
import { isKeyId, type KeyDescription, type KeyProvider, MAX_CONTEXT_BYTES, MAX_DATA_KEY_BYTES } from '../provider.ts'

/** AES-256. */
export const KEY_BYTES = 32
/** The nonce that NIST SP 800-38D §8.2.2 takes as it is; random, so one key is good for 2^32 wraps. */
const NONCE_BYTES = 12
const TAG_BYTES = 16
const FORMAT_VERSION = 1
const OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES

export interface LocalKeyOptions {
  keyId: string
  /** Exactly 32 bytes; taken over, and zero when the constructor returns or throws. */
  key: Buffer
  provider: 'env' | 'file'
}

/**
 * A key in this process's memory: AES-256-GCM with a random 96-bit nonce.
 *
 * Layout of wrapped bytes: version (1, always 1) · nonce (12) · ciphertext (as long as the data key) · tag (16).
 * The associated data is the version, the key id with its length in front, and the context.
 * INVARIANT: no JavaScript object holds the key's bytes; they are in one native key object that gives them to nobody.
 */
export class LocalKeyProvider implements KeyProvider {
  readonly keyId: string
  readonly #provider: 'env' | 'file'
  #key: webcrypto.CryptoKey | undefined

  /** Throws KeyProviderError ERR_KEY_ID_INVALID, ERR_KEY_LENGTH or ERR_KEY_WEAK. */
  constructor({ keyId, key, provider }: LocalKeyOptions) {
    this.keyId = keyId
    this.#provider = provider
    try {
      this.#key = importKey(keyId, key)
    } finally {
      key.fill(0)
    }
  }

  async wrap(dataKey: Buffer, context: Buffer): Promise<Buffer> {
    const key = this.#aliveKey()
    assertLength('data key', dataKey.length, 1, MAX_DATA_KEY_BYTES)
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    const nonce = randomBytes(NONCE_BYTES)
    const encrypted = await webcrypto.subtle.encrypt(this.#parameters(nonce, context), key, dataKey)
    return Buffer.concat([Buffer.of(FORMAT_VERSION), nonce, new Uint8Array(encrypted)])
  }

  async unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer> {
    const key = this.#aliveKey()
    assertLength('wrapped key', wrapped.length, OVERHEAD_BYTES + 1, OVERHEAD_BYTES + MAX_DATA_KEY_BYTES)
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    if (wrapped[0] !== FORMAT_VERSION) throw this.#unwrapFailed()
    const nonce = wrapped.subarray(1, 1 + NONCE_BYTES)
    try {
      // WebCrypto and not createDecipheriv, which leaves a copy of the plaintext in freed memory. A view, not a copy.
      return Buffer.from(
        await webcrypto.subtle.decrypt(this.#parameters(nonce, context), key, wrapped.subarray(1 + NONCE_BYTES)),
      )
    } catch {
      // OpenSSL's words about it are not passed on.
      throw this.#unwrapFailed()
    }
  }

  describe(): KeyDescription {
    return { key_id: this.keyId, provider: this.#provider, algorithm: 'AES-256-GCM' }
  }

  async health(): Promise<string> {
    return this.#key === undefined ? 'destroyed' : 'ok'
  }

  destroy(): void {
    this.#key = undefined
  }

  #parameters(nonce: Buffer, context: Buffer): webcrypto.AesGcmParams {
    const keyId = Buffer.from(this.keyId, 'ascii')
    const additionalData = Buffer.concat([Buffer.of(FORMAT_VERSION, keyId.length), keyId, context])
    return { name: 'AES-GCM', iv: nonce, additionalData, tagLength: TAG_BYTES * 8 }
  }

  #unwrapFailed(): KeyProviderError {
    return new KeyProviderError('ERR_KEY_UNWRAP_FAILED', 'wrapped key does not open', { key_id: this.keyId })
  }

  #aliveKey(): webcrypto.CryptoKey {
    if (this.#key !== undefined) return this.#key
    throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { key_id: this.keyId })
  }
}

function importKey(keyId: string, key: Buffer): webcrypto.CryptoKey {
  if (!isKeyId(keyId)) throw new KeyProviderError('ERR_KEY_ID_INVALID', 'key id is out of form')
  if (key.length !== KEY_BYTES) {
    throw new KeyProviderError('ERR_KEY_LENGTH', 'key has a wrong length', {
      expected: KEY_BYTES,
      received: key.length,
    })
  }
  // A key of one repeated byte is a placeholder that somebody forgot, or memory that was already zeroed.
  if (timingSafeEqual(key, Buffer.alloc(KEY_BYTES, key[0]))) {
    throw new KeyProviderError('ERR_KEY_WEAK', 'key is one byte repeated')
  }
  return createSecretKey(key).toCryptoKey({ name: 'AES-GCM' }, false, ['encrypt', 'decrypt'])
}
