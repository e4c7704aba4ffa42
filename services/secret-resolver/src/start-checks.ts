import type { Sql } from '@rap/service-kit'
import { openSealingKey, SealingKeyError } from './sealing/sealing-key.ts'
import { selectActiveSealingKey, storedSealingKey } from './sealing/store.ts'
import type { KeyWrapPort } from './secrets/key-wrap.ts'
import { selectNeededKeyIds } from './secrets/store.ts'

/** The configured master key is not the one that stored rows were written with: better no start than lost secrets. */
export class MasterKeyError extends Error {
  override readonly name = 'MasterKeyError'
  readonly code: 'ERR_MASTER_KEY_UNKNOWN' | 'ERR_MASTER_KEY_MISMATCH'
  readonly facts: { readonly key_ids: string }

  constructor(code: MasterKeyError['code'], message: string, keyIds: string) {
    super(`${message}: ${keyIds}`)
    this.code = code
    this.facts = { key_ids: keyIds }
  }
}

/** Throws MasterKeyError where a live row names a key that this process does not have; the message names each. */
export async function refuseUnknownKeys(sql: Sql, keys: Pick<KeyWrapPort, 'has'>): Promise<void> {
  const unknown = (await selectNeededKeyIds(sql)).filter(({ key_id }) => !keys.has(key_id))
  if (unknown.length === 0) return
  const names = unknown.map(({ key_id, count }) => `${key_id} (${count} rows)`).join(', ')
  throw new MasterKeyError('ERR_MASTER_KEY_UNKNOWN', 'stored rows need a master key that is not configured', names)
}

/** Throws MasterKeyError where the key of the right id has other bytes: the sealing key, which every start has, tells. */
export async function refuseWrongKey(sql: Sql, keys: KeyWrapPort): Promise<void> {
  const [active] = await selectActiveSealingKey(sql)
  if (active === undefined) return
  try {
    await openSealingKey(storedSealingKey(active), keys)
  } catch (err) {
    if (!(err instanceof SealingKeyError)) throw err
    throw new MasterKeyError('ERR_MASTER_KEY_MISMATCH', 'the configured master key opens no stored row', active.key_id)
  }
}
