import { randomBytes } from 'node:crypto'
import { KeyProviderError } from './errors.ts'
import { DATA_KEY_BYTES, type GeneratedDataKey, type KeyProvider, type WrappedKey } from './provider.ts'
import type { KeySource } from './source.ts'

/**
 * All keys of a service, found by the id that is stored beside what they wrapped.
 *
 * Which of them wraps new data is the caller's rule. INVARIANT: an unknown id ends in ERR_KEY_UNKNOWN and never in another
 * key.
 */
export class KeyRing {
  #sources: ReadonlyMap<string, KeySource>

  /** Throws KeyProviderError ERR_KEY_DUPLICATE where two sources have one name. */
  constructor(sources: readonly KeySource[]) {
    this.#sources = byName(sources)
  }

  get sources(): readonly KeySource[] {
    return [...this.#sources.values()]
  }

  /** The source of this name, or undefined. */
  source(name: string): KeySource | undefined {
    return this.#sources.get(name)
  }

  /** The sources from now on. Those that are left out are destroyed; a source that stays must be the same object. */
  replaceSources(sources: readonly KeySource[]): void {
    const next = byName(sources)
    const kept = new Set(sources)
    const gone = this.sources.filter(source => !kept.has(source))
    this.#sources = next
    for (const source of gone) source.destroy()
  }

  has(keyId: string): boolean {
    return this.#find(keyId) !== undefined
  }

  /** The key of that id. Throws KeyProviderError ERR_KEY_UNKNOWN. */
  key(keyId: string): KeyProvider {
    const provider = this.#find(keyId)
    if (provider !== undefined) return provider
    // The id comes from storage; a long one is not worth a log line.
    throw new KeyProviderError('ERR_KEY_UNKNOWN', 'no key has this id', { key_id: keyId.slice(0, 128) })
  }

  /** Wraps with the key of that id. Throws KeyProviderError ERR_KEY_UNKNOWN, or what the provider throws. */
  async wrap(keyId: string, dataKey: Buffer, context: Buffer): Promise<Buffer> {
    return await this.key(keyId).wrap(dataKey, context)
  }

  /** A fresh data key wrapped with the key of that id; made where that key lives, when it can. The caller zeroes it. */
  async generateDataKey(keyId: string, context: Buffer): Promise<GeneratedDataKey> {
    const provider = this.key(keyId)
    if (provider.generateDataKey !== undefined) return await provider.generateDataKey(context)
    const dataKey = randomBytes(DATA_KEY_BYTES)
    try {
      return { dataKey, wrapped: await provider.wrap(dataKey, context) }
    } catch (error) {
      dataKey.fill(0)
      throw error
    }
  }

  /** Unwraps with the key of that id. Throws KeyProviderError ERR_KEY_UNKNOWN, or what the provider throws. */
  async unwrap({ keyId, wrapped }: WrappedKey, context: Buffer): Promise<Buffer> {
    return await this.key(keyId).unwrap(wrapped, context)
  }

  /**
   * Wraps again with the key `toKeyId`; inside the place of the keys where both are one source's and it can do so.
   * INVARIANT: a data key that had to come here is zero when this returns or throws.
   */
  async rewrap(from: WrappedKey, toKeyId: string, context: Buffer): Promise<Buffer> {
    const to = this.key(toKeyId)
    if (to.rewrap !== undefined && this.#sourceOf(from.keyId) === this.#sourceOf(toKeyId)) {
      return await to.rewrap(from, context)
    }
    const dataKey = await this.unwrap(from, context)
    try {
      return await to.wrap(dataKey, context)
    } finally {
      dataKey.fill(0)
    }
  }

  /** `ok` when every source can be used; otherwise the first trouble with its name. */
  async health(): Promise<string> {
    const answers = await Promise.all(this.sources.map(async source => ({ source, health: await source.health() })))
    const trouble = answers.find(({ health }) => health !== 'ok')
    return trouble === undefined ? 'ok' : `${trouble.source.name}: ${trouble.health}`
  }

  destroy(): void {
    for (const source of this.sources) source.destroy()
  }

  #sourceOf(keyId: string): KeySource | undefined {
    return this.sources.find(source => source.key(keyId) !== undefined)
  }

  #find(keyId: string): KeyProvider | undefined {
    return this.#sourceOf(keyId)?.key(keyId)
  }
}

function byName(sources: readonly KeySource[]): Map<string, KeySource> {
  const map = new Map<string, KeySource>()
  for (const source of sources) {
    if (map.has(source.name)) {
      throw new KeyProviderError('ERR_KEY_DUPLICATE', 'two key sources have one name', { key_id: source.name })
    }
    map.set(source.name, source)
  }
  return map
}
