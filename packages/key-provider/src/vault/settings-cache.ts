import type { SourceLogger } from '../logger.ts'
import { type KeySettings, warningsOf } from './key-settings.ts'
import type { TransitApi } from './transit-api.ts'

/** The settings of the key as the server last told them; however many ask, one request is under way. */
export class SettingsCache {
  readonly #source: string
  readonly #api: TransitApi
  readonly #logger: SourceLogger | undefined
  #settings: KeySettings | undefined
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<KeySettings> | undefined
  #warned = ''

  constructor(source: string, api: TransitApi, logger: SourceLogger | undefined) {
    this.#source = source
    this.#api = api
    this.#logger = logger
  }

  /** What was told last, if anything. */
  get known(): KeySettings | undefined {
    return this.#settings
  }

  /** Settings that are at most so old, in milliseconds. Throws KeyProviderError. */
  async get(maxAgeMs: number): Promise<KeySettings> {
    if (this.#settings !== undefined && performance.now() - this.#readAt <= maxAgeMs) return this.#settings
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return await this.#reading
  }

  /** The next to ask gets an answer that the server gives from now on. */
  async refresh(): Promise<KeySettings> {
    // One that is under way may have been answered before the change that is to be seen.
    await this.#reading?.catch(() => {})
    return await this.get(-1)
  }

  async #read(): Promise<KeySettings> {
    const readAt = performance.now()
    const settings = await this.#api.read()
    this.#settings = settings
    this.#readAt = readAt
    const warnings = warningsOf(settings).join(', ')
    if (warnings !== this.#warned && warnings !== '') {
      this.#logger?.warn(
        { event: 'vault_key_settings', source: this.#source, settings: warnings },
        'Transit key has settings that put it at risk',
      )
    }
    this.#warned = warnings
    return settings
  }
}
