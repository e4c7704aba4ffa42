import { KeyProviderError } from './errors.ts'
import type { KeyProvider } from './provider.ts'

/**
 * A configured place of keys, and the keys that it has had.
 *
 * Most sources are one key whose id is the source's name. A source that versions its keys itself (Vault Transit) has one
 * key id a version, `<name>:v<version>`.
 */
export interface KeySource {
  readonly name: string
  /** The key of this id, or undefined where the id is none of this source's. Does no I/O. */
  key(keyId: string): KeyProvider | undefined
  /** The id of the key that new data is to be wrapped with. Throws KeyProviderError. */
  newestKeyId(): Promise<string>
  /** Makes the key material where there is none yet, and answers the key's id. Throws ERR_KEY_EXISTS, or what the place says. */
  create?(): Promise<string>
  /** Makes a new version, and answers its key id. */
  rotate?(): Promise<string>
  /** `ok`, or a few words about what is wrong; never throws. */
  health(): Promise<string>
  destroy(): void
}

/** The source of one key that is there already. */
export function singleKeySource(provider: KeyProvider): KeySource {
  return {
    name: provider.keyId,
    key: keyId => (keyId === provider.keyId ? provider : undefined),
    newestKeyId: async () => provider.keyId,
    create: async () => {
      throw new KeyProviderError('ERR_KEY_EXISTS', 'the key is there already', { key_id: provider.keyId })
    },
    health: () => provider.health(),
    destroy: () => provider.destroy(),
  }
}
