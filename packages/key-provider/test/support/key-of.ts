import type { KeyProvider, KeySource } from '../../src/index.ts'

/** The key of a source of one key. */
export function keyOf(source: KeySource): KeyProvider {
  const key = source.key(source.name)
  if (key === undefined) throw new TypeError('a source has the key of its own name')
  return key
}
