import { KeyProviderError } from './errors.ts'
import type { KeyDescription, KeyProvider } from './provider.ts'

export interface WrappedKey {
  /** Store it beside `wrapped`: it finds the key again. */
  readonly keyId: string
  readonly wrapped: Buffer
}

/**
 * The keys of a service: one active key that wraps, and older ones that still unwrap.
 *
 * A rotation makes a new active key and leaves the old one among `others` until nothing is wrapped with it any more.
 * Key ids that were read from storage go through here, so an unknown one ends in KEY_UNKNOWN and never in another key.
 */
export class KeyRing {
  readonly #active: KeyProvider
  readonly #providers: ReadonlyMap<string, KeyProvider>

  /** Throws KeyProviderError KEY_DUPLICATE when two providers have one key id. */
  constructor({ active, others = [] }: { active: KeyProvider; others?: readonly KeyProvider[] }) {
    const providers = new Map<string, KeyProvider>()
    for (const provider of [active, ...others]) {
      if (providers.has(provider.keyId)) {
        throw new KeyProviderError('ERR_KEY_DUPLICATE', 'two keys have one id', { key_id: provider.keyId })
      }
      providers.set(provider.keyId, provider)
    }
    this.#active = active
    this.#providers = providers
  }

  get activeKeyId(): string {
    return this.#active.keyId
  }

  has(keyId: string): boolean {
    return this.#providers.has(keyId)
  }

  /** Wraps with the active key. */
  async wrap(dataKey: Buffer, context: Buffer): Promise<WrappedKey> {
    return { keyId: this.#active.keyId, wrapped: await this.#active.wrap(dataKey, context) }
  }

  /** Unwraps with the key of that id. Throws KeyProviderError KEY_UNKNOWN, or what the provider throws. */
  async unwrap({ keyId, wrapped }: WrappedKey, context: Buffer): Promise<Buffer> {
    const provider = this.#providers.get(keyId)
    if (provider === undefined) {
      // The id comes from storage; a long one is not worth a log line.
      throw new KeyProviderError('ERR_KEY_UNKNOWN', 'no key has this id', { key_id: keyId.slice(0, 128) })
    }
    return provider.unwrap(wrapped, context)
  }

  /** The active key first. */
  describe(): KeyDescription[] {
    return [...this.#providers.values()].map(provider => provider.describe())
  }

  /** `ok` when every key can be used; otherwise the first trouble with its key id. */
  async health(): Promise<string> {
    for (const provider of this.#providers.values()) {
      const health = await provider.health()
      if (health !== 'ok') return `${provider.keyId}: ${health}`
    }
    return 'ok'
  }

  destroy(): void {
    for (const provider of this.#providers.values()) provider.destroy()
  }
}
