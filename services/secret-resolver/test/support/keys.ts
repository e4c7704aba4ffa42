import { randomBytes } from 'node:crypto'
import { KeyRing, LocalKeyProvider } from '@rap/key-provider'
import type { KeyWrapPort } from '../../src/secrets/key-wrap.ts'

/** A real key ring; `material` gives a key id its own bytes, every id not named gets fresh ones. */
export function testKeys(activeKeyId = 'key-1', material: Record<string, Buffer> = {}): KeyRing {
  const provider = (keyId: string, key: Buffer = randomBytes(32)) =>
    new LocalKeyProvider({ keyId, key: Buffer.from(key), provider: 'env' })
  const others = Object.keys(material).filter(id => id !== activeKeyId)
  return new KeyRing({
    active: provider(activeKeyId, material[activeKeyId]),
    others: others.map(id => provider(id, material[id])),
  })
}

/** The ring with some of its functions replaced. */
export function withKeys(keys: KeyWrapPort, change: Partial<KeyWrapPort>): KeyWrapPort {
  return {
    activeKeyId: keys.activeKeyId,
    has: id => keys.has(id),
    health: () => keys.health(),
    wrap: (dataKey, context) => keys.wrap(dataKey, context),
    unwrap: (wrapped, context) => keys.unwrap(wrapped, context),
    ...change,
  }
}

/** Keeps hold of every plaintext key that goes through the ring, so that a test can see that it was zeroed. */
export function watched(keys: KeyWrapPort): KeyWrapPort & { readonly seen: Buffer[] } {
  const seen: Buffer[] = []
  const watching = withKeys(keys, {
    wrap: async (dataKey, context) => {
      seen.push(dataKey)
      return await keys.wrap(dataKey, context)
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
