import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto'
import { KeyProviderError } from './errors.ts'
import { isKeyId, type KeyDescription, type KeyProvider, MAX_CONTEXT_BYTES, MAX_DATA_KEY_BYTES } from './provider.ts'

/** AES-256. */
export const KEY_BYTES = 32
/** The nonce that NIST SP 800-38D §8.2.2 takes as it is; random, so one key is good for 2^32 wraps. */
const NONCE_BYTES = 12
const TAG_BYTES = 16
const FORMAT_VERSION = 1
const OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES

export interface LocalKeyOptions {
  keyId: string
  /** Exactly 32 bytes; taken over and zeroed by `destroy`. */
  key: Buffer
  provider: 'env' | 'file'
}

/**
 * A key in this process's memory: AES-256-GCM with a random 96-bit nonce.
 *
 * Layout of wrapped bytes: version (1, always 1) · nonce (12) · ciphertext (as long as the data key) · tag (16).
 * The associated data is the version, the key id with its length in front, and the context.
 */
export class LocalKeyProvider implements KeyProvider {
  readonly keyId: string
  readonly #key: Buffer
  readonly #provider: 'env' | 'file'
  #isDestroyed = false

  /** Throws KeyProviderError KEY_ID_INVALID, KEY_LENGTH or KEY_WEAK. */
  constructor({ keyId, key, provider }: LocalKeyOptions) {
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
    this.keyId = keyId
    this.#key = key
    this.#provider = provider
  }

  async wrap(dataKey: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('data key', dataKey.length, 1, MAX_DATA_KEY_BYTES)
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(this.#associatedData(context))
    const ciphertext = Buffer.concat([cipher.update(dataKey), cipher.final()])
    return Buffer.concat([Buffer.of(FORMAT_VERSION), nonce, ciphertext, cipher.getAuthTag()])
  }

  async unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('wrapped key', wrapped.length, OVERHEAD_BYTES + 1, OVERHEAD_BYTES + MAX_DATA_KEY_BYTES)
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    if (wrapped[0] !== FORMAT_VERSION) throw this.#unwrapFailed()
    const nonce = wrapped.subarray(1, 1 + NONCE_BYTES)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(this.#associatedData(context))
    decipher.setAuthTag(wrapped.subarray(-TAG_BYTES))
    const dataKey = decipher.update(wrapped.subarray(1 + NONCE_BYTES, -TAG_BYTES))
    try {
      // GCM is a stream: `update` has already given all the bytes, and `final` only checks the tag.
      decipher.final()
      return dataKey
    } catch {
      // What did not authenticate is wiped, and OpenSSL's words about it are not passed on.
      dataKey.fill(0)
      throw this.#unwrapFailed()
    }
  }

  describe(): KeyDescription {
    return { key_id: this.keyId, provider: this.#provider, algorithm: 'AES-256-GCM' }
  }

  async health(): Promise<string> {
    return this.#isDestroyed ? 'destroyed' : 'ok'
  }

  destroy(): void {
    this.#key.fill(0)
    this.#isDestroyed = true
  }

  #associatedData(context: Buffer): Buffer {
    const keyId = Buffer.from(this.keyId, 'ascii')
    return Buffer.concat([Buffer.of(FORMAT_VERSION, keyId.length), keyId, context])
  }

  #unwrapFailed(): KeyProviderError {
    return new KeyProviderError('ERR_KEY_UNWRAP_FAILED', 'wrapped key does not open', { key_id: this.keyId })
  }

  #assertAlive(): void {
    if (this.#isDestroyed) throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { key_id: this.keyId })
  }
}

function assertLength(what: string, received: number, min: number, max: number): void {
  if (received >= min && received <= max) return
  throw new KeyProviderError('ERR_KEY_INPUT_LENGTH', `${what} has a wrong length`, { received, min, max })
}
