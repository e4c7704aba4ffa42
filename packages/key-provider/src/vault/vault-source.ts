import { KeyProviderError } from '../errors.ts'
import type { SourceLogger } from '../logger.ts'
import type { KeyProvider } from '../provider.ts'
import type { KeySource } from '../source.ts'
import { keyIdOf, versionOfKeyId } from './ciphertext.ts'
import type { VaultClient } from './client.ts'
import { assertUsable } from './key-settings.ts'
import { SettingsCache } from './settings-cache.ts'
import { TransitApi } from './transit-api.ts'
import { healthWords, TransitKey } from './transit-key.ts'
import type { TransitPlace } from './transit-place.ts'

/** A rotation by somebody else is seen after this long. */
const NEWEST_AGE_MS = 5000

export interface VaultSourceParts {
  readonly name: string
  readonly place: TransitPlace
  readonly location: string
  readonly client: VaultClient
  readonly logger: SourceLogger | undefined
}

/** A Transit key with all its versions: `<name>:v1`, `<name>:v2` and so on are its key ids. */
export class VaultSource implements KeySource {
  readonly name: string
  readonly #parts: VaultSourceParts
  readonly #api: TransitApi
  readonly #settings: SettingsCache
  #isDestroyed = false

  constructor(parts: VaultSourceParts) {
    this.name = parts.name
    this.#parts = parts
    this.#api = new TransitApi(parts.client, parts.place)
    this.#settings = new SettingsCache(parts.name, this.#api, parts.logger)
  }

  key(keyId: string): KeyProvider | undefined {
    const version = versionOfKeyId(this.name, keyId)
    if (version === undefined) return undefined
    const { place, location } = this.#parts
    return new TransitKey({
      source: this.name,
      version,
      place,
      location,
      api: this.#api,
      settings: this.#settings,
      assertAlive: () => this.#assertAlive(),
    })
  }

  async newestKeyId(): Promise<string> {
    this.#assertAlive()
    const settings = await this.#settings.get(NEWEST_AGE_MS)
    assertUsable(settings, 'wrap', this.#parts.place)
    return keyIdOf(this.name, settings.latestVersion)
  }

  async create(): Promise<string> {
    this.#assertAlive()
    if (await this.#exists()) {
      const { mount, key } = this.#parts.place
      throw new KeyProviderError('ERR_KEY_EXISTS', 'the key is there already', { key: `${mount}/keys/${key}` })
    }
    await this.#api.create()
    return await this.#newestNow()
  }

  async rotate(): Promise<string> {
    this.#assertAlive()
    // A key that would be refused afterwards is not touched.
    assertUsable(await this.#settings.refresh(), 'wrap', this.#parts.place)
    await this.#api.rotate()
    return await this.#newestNow()
  }

  async health(): Promise<string> {
    try {
      this.#assertAlive()
      assertUsable(await this.#settings.get(0), 'wrap', this.#parts.place)
      return 'ok'
    } catch (error) {
      return healthWords(error)
    }
  }

  destroy(): void {
    this.#isDestroyed = true
    this.#parts.client.destroy()
  }

  async #newestNow(): Promise<string> {
    await this.#settings.refresh()
    return await this.newestKeyId()
  }

  async #exists(): Promise<boolean> {
    try {
      await this.#settings.refresh()
      return true
    } catch (error) {
      const isMissing =
        error instanceof KeyProviderError && error.code === 'ERR_KEY_NOT_FOUND' && error.facts.reason === 'key'
      if (isMissing) return false
      throw error
    }
  }

  #assertAlive(): void {
    if (this.#isDestroyed) throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { source: this.name })
  }
}
