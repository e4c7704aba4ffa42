import { randomBytes } from 'node:crypto'
import { KeyProviderError } from '../errors.ts'
import { assertLength } from '../lengths.ts'
import {
  DATA_KEY_BYTES,
  type GeneratedDataKey,
  type KeyDescription,
  type KeyProvider,
  MAX_CONTEXT_BYTES,
  MAX_DATA_KEY_BYTES,
  type WrappedKey,
} from '../provider.ts'
import { encodeBase64 } from './base64.ts'
import { ciphertextVersion, keyIdOf, MAX_CIPHERTEXT_BYTES, unwrapFailed } from './ciphertext.ts'
import { assertUsable, type KeyUse } from './key-settings.ts'
import { outOfForm } from './refusals.ts'
import type { SettingsCache } from './settings-cache.ts'
import type { Ciphertext, TransitApi } from './transit-api.ts'
import type { TransitPlace } from './transit-place.ts'

/**
 * How old the key's settings may be, in milliseconds. Before a wrap they are looked at once a minute, because a version
 * that is archived meanwhile still encrypts what it no longer opens.
 */
const MAX_SETTINGS_AGE_MS: Readonly<Record<KeyUse, number>> = { wrap: 60_000, unwrap: 3_600_000 }

export interface TransitKeyOptions {
  readonly source: string
  readonly version: number
  readonly place: TransitPlace
  /** Address and path, for an operator. */
  readonly location: string
  readonly api: TransitApi
  readonly settings: SettingsCache
  /** Throws once the source is destroyed. */
  readonly assertAlive: () => void
}

/**
 * One version of a Transit key.
 *
 * Wrapped bytes are what Transit gave, `vault:v<version>:<base64>`, in UTF-8. The context that Transit derives the key
 * from is the source's name with its length in front, and the caller's context.
 * INVARIANT: bytes that say another version than this key's are refused before any request.
 */
export class TransitKey implements KeyProvider {
  readonly keyId: string
  readonly #options: TransitKeyOptions
  #isDestroyed = false

  constructor(options: TransitKeyOptions) {
    this.keyId = keyIdOf(options.source, options.version)
    this.#options = options
  }

  async wrap(dataKey: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('data key', dataKey.length, 1, MAX_DATA_KEY_BYTES)
    const contextText = this.#contextText(context)
    await this.#assertUsable('wrap')
    return this.#own(await this.#options.api.encrypt(dataKey, contextText, this.#options.version), 'encrypt')
  }

  async unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('wrapped key', wrapped.length, 1, MAX_CIPHERTEXT_BYTES)
    const contextText = this.#contextText(context)
    if (ciphertextVersion(wrapped) !== this.#options.version) throw unwrapFailed(this.keyId)
    await this.#assertUsable('unwrap')
    return await this.#opening(this.#options.api.decrypt(wrapped, contextText))
  }

  async generateDataKey(context: Buffer): Promise<GeneratedDataKey> {
    this.#assertAlive()
    const contextText = this.#contextText(context)
    await this.#assertUsable('wrap')
    const { version, api } = this.#options
    const made = await api.dataKey(contextText, version)
    if (made.version === version) return { dataKey: made.dataKey, wrapped: made.wrapped }
    // A server that takes no version here used its latest.
    made.dataKey.fill(0)
    const dataKey = randomBytes(DATA_KEY_BYTES)
    try {
      return { dataKey, wrapped: this.#own(await api.encrypt(dataKey, contextText, version), 'encrypt') }
    } catch (error) {
      dataKey.fill(0)
      throw error
    }
  }

  async rewrap({ keyId, wrapped }: WrappedKey, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('wrapped key', wrapped.length, 1, MAX_CIPHERTEXT_BYTES)
    const contextText = this.#contextText(context)
    const version = ciphertextVersion(wrapped)
    if (version === undefined || keyIdOf(this.#options.source, version) !== keyId) throw unwrapFailed(keyId)
    await this.#assertUsable('wrap')
    return this.#own(
      await this.#opening(this.#options.api.rewrap(wrapped, contextText, this.#options.version)),
      'rewrap',
    )
  }

  describe(): KeyDescription {
    const { settings, location } = this.#options
    const type = settings.known?.type
    const algorithm = type === undefined ? 'Transit' : `Transit ${type}`
    return { key_id: this.keyId, provider: 'vault', algorithm, location }
  }

  async health(): Promise<string> {
    try {
      this.#assertAlive()
      const { settings, version, place } = this.#options
      const current = await settings.get(0)
      assertUsable(current, 'unwrap', place)
      if (version > current.latestVersion) return 'the key has no such version'
      return version < current.minDecryptionVersion ? 'the version is archived' : 'ok'
    } catch (error) {
      return healthWords(error)
    }
  }

  destroy(): void {
    this.#isDestroyed = true
  }

  async #assertUsable(use: KeyUse): Promise<void> {
    const { settings, place, version } = this.#options
    const current = await settings.get(MAX_SETTINGS_AGE_MS[use])
    assertUsable(current, use, place)
    // Transit encrypts with a version that it would not decrypt with any more.
    if (use === 'wrap' && version < Math.max(current.minDecryptionVersion, current.minEncryptionVersion)) {
      throw new KeyProviderError('ERR_KEY_VERSION_ARCHIVED', 'the Transit key does not use this version any more', {
        key_id: this.keyId,
        reason: 'archived',
      })
    }
  }

  /** The wrapped bytes, if they are this version's: others would be stored under an id that does not open them. */
  #own({ wrapped, version }: Ciphertext, operation: string): Buffer {
    if (version === this.#options.version) return wrapped
    throw outOfForm(operation, 'data.ciphertext')
  }

  /** What does not open is told as every provider tells it, whatever the server said. */
  async #opening<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      if (error instanceof KeyProviderError && error.code === 'ERR_KEY_UNWRAP_FAILED') throw unwrapFailed(this.keyId)
      throw error
    }
  }

  #contextText(context: Buffer): Buffer {
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    const name = Buffer.from(this.#options.source, 'ascii')
    return encodeBase64(Buffer.concat([Buffer.of(name.length), name, context]))
  }

  #assertAlive(): void {
    this.#options.assertAlive()
    if (this.#isDestroyed) throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { key_id: this.keyId })
  }
}

/** A few words for an operator about what keeps a key from being used. */
export function healthWords(error: unknown): string {
  if (!(error instanceof KeyProviderError)) return 'failed'
  const { message, facts } = error
  return facts.status === undefined ? message : `${message} (status ${facts.status})`
}
