import { randomBytes } from 'node:crypto'
import { KeyRing, LocalKeyProvider, singleKeySource } from '@rap/key-provider'
import type { Sql } from '@rap/service-kit'
import { activateConfigured, registerSources } from '../../src/master-keys/register.ts'
import type { KeyWrapPort } from '../../src/secrets/key-wrap.ts'
import { silent } from './database.ts'

/** The key that is active in a world unless its test says otherwise. */
export const ACTIVE_KEY = 'key-1'

/** A real key ring; `material` gives a key id its own bytes, every id not named gets fresh ones. */
export function testKeys(keyIds: readonly string[] = [ACTIVE_KEY], material: Record<string, Buffer> = {}): KeyRing {
  return new KeyRing(
    keyIds.map(keyId =>
      singleKeySource(
        new LocalKeyProvider({ keyId, key: Buffer.from(material[keyId] ?? randomBytes(32)), provider: 'env' }),
      ),
    ),
  )
}

/** Makes the keys known to a database, and one of them active, as a start of the service does. */
export async function useKeys(sql: Sql, keys: KeyWrapPort, active = ACTIVE_KEY): Promise<void> {
  await registerSources({ sql, keys, logger: silent })
  await activateConfigured(active, { sql, keys })
}

/** The ring with some of its functions replaced. */
export function withKeys(keys: KeyWrapPort, change: Partial<KeyWrapPort>): KeyWrapPort {
  return {
    sources: keys.sources,
    source: name => (change.sources ?? keys.sources).find(source => source.name === name),
    has: id => keys.has(id),
    key: id => keys.key(id),
    health: () => keys.health(),
    wrap: (keyId, dataKey, context) => keys.wrap(keyId, dataKey, context),
    generateDataKey: (keyId, context) => keys.generateDataKey(keyId, context),
    unwrap: (wrapped, context) => keys.unwrap(wrapped, context),
    rewrap: (wrapped, toKeyId, context) => keys.rewrap(wrapped, toKeyId, context),
    ...change,
  }
}

/** Keeps hold of every plaintext key that goes through the ring, so that a test can see that it was zeroed. */
export function watched(keys: KeyWrapPort): KeyWrapPort & { readonly seen: Buffer[] } {
  const seen: Buffer[] = []
  const watching = withKeys(keys, {
    wrap: async (keyId, dataKey, context) => {
      seen.push(dataKey)
      return await keys.wrap(keyId, dataKey, context)
    },
    generateDataKey: async (keyId, context) => {
      const generated = await keys.generateDataKey(keyId, context)
      seen.push(generated.dataKey)
      return generated
    },
    unwrap: async (wrapped, context) => {
      const dataKey = await keys.unwrap(wrapped, context)
      seen.push(dataKey)
      return dataKey
    },
  })
  return { ...watching, seen }
}

export function isZero(buffer: Uint8Array): boolean {
  return buffer.length > 0 && buffer.every(byte => byte === 0)
}
