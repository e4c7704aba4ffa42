import { isKeyConfigurationError, KeyProviderError } from '@rap/key-provider'
import type { Sql } from '@rap/service-kit'
import { openSealingKey, SealingKeyError } from '../sealing/sealing-key.ts'
import { selectSealingKeyOf, storedSealingKey } from '../sealing/store.ts'
import { dataKeyContext } from '../secrets/envelope.ts'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import { placeOf } from '../secrets/stored.ts'
import { openCheckValue } from './check-value.ts'
import type { KeyDeps } from './register.ts'
import { selectSecretOf } from './rewrap-rows.ts'
import { type MasterKeyRow, selectKeyUses, selectMasterKeys } from './store.ts'

type Trouble = 'ERR_MASTER_KEY_UNKNOWN' | 'ERR_MASTER_KEY_MISMATCH' | 'ERR_MASTER_KEY_UNUSABLE'

const WORDS: Record<Trouble, string> = {
  ERR_MASTER_KEY_UNKNOWN: 'stored rows need a master key that is not configured',
  ERR_MASTER_KEY_MISMATCH: 'the configured master key is not the one that stored rows are wrapped with',
  ERR_MASTER_KEY_UNUSABLE: 'the place of a master key that stored rows need does not let it be used',
}

/** A master key that stored rows need is lost, another one, or out of reach: better no start than lost secrets. */
export class MasterKeyError extends Error {
  override readonly name = 'MasterKeyError'
  readonly code: Trouble
  readonly facts: { readonly key_ids: string }

  constructor(code: Trouble, keyIds: string) {
    super(`${WORDS[code]}: ${keyIds} (docs/operations/secrets.md, "A key is lost")`)
    this.code = code
    this.facts = { key_ids: keyIds }
  }
}

/** Whether the start fails for a reason that stays: a wrong or a lost key, not a place of keys that is away. */
export function isLasting(error: unknown): boolean {
  if (error instanceof MasterKeyError) return error.code !== 'ERR_MASTER_KEY_UNUSABLE'
  return isKeyConfigurationError(error)
}

/** A master key that stored rows need, or that is active, and what is wrong with it. */
export interface KeyCheck {
  readonly keyId: string
  /** Stored rows that only this key opens. */
  readonly rows: number
  /** Undefined where the key opens its check value. */
  readonly code: Trouble | undefined
  /** What the place of the key says of it; may be empty. */
  readonly reason: string
}

/** Opens the check value of every key that a stored row needs, and of the active one. */
export async function checkKeys({ sql, keys }: KeyDeps): Promise<KeyCheck[]> {
  const known = new Map((await selectMasterKeys(sql)).map(key => [key.key_id, key]))
  const uses = new Map((await selectKeyUses(sql)).map(use => [use.key_id, use.secrets + use.sealing_keys]))
  for (const { key_id, state } of known.values()) if (state === 'active' && !uses.has(key_id)) uses.set(key_id, 0)
  return await Promise.all(
    [...uses].map(async ([keyId, rows]) => ({
      keyId,
      rows,
      ...(await troubleOf(keyId, known.get(keyId), { sql, keys })),
    })),
  )
}

/** Throws MasterKeyError that names each key that does not open, with its rows; what comes first in `WORDS` is told first. */
export async function refuseUnusableKeys(deps: KeyDeps): Promise<void> {
  const checks = await checkKeys(deps)
  for (const trouble of Object.keys(WORDS) as Trouble[]) {
    const named = checks.filter(({ code }) => code === trouble)
    if (named.length === 0) continue
    const words = named.map(({ keyId, rows, reason }) => `${keyId} (${rows} rows${reason === '' ? '' : `, ${reason}`})`)
    throw new MasterKeyError(trouble, words.join(', '))
  }
}

async function troubleOf(
  keyId: string,
  key: MasterKeyRow | undefined,
  deps: KeyDeps,
): Promise<Pick<KeyCheck, 'code' | 'reason'>> {
  if (!deps.keys.has(keyId)) return { code: 'ERR_MASTER_KEY_UNKNOWN', reason: '' }
  try {
    if (key?.check_value == null) await openAnyRow(keyId, deps)
    else await openCheckValue(deps.keys, { keyId, wrapped: key.check_value })
    return { code: undefined, reason: '' }
  } catch (err) {
    if (err instanceof SealingKeyError) return { code: 'ERR_MASTER_KEY_MISMATCH', reason: '' }
    if (!(err instanceof KeyProviderError)) throw err
    if (err.code === 'ERR_KEY_UNWRAP_FAILED') return { code: 'ERR_MASTER_KEY_MISMATCH', reason: '' }
    return { code: 'ERR_MASTER_KEY_UNUSABLE', reason: err.code }
  }
}

/** For a key from before there were check values: any row of its own tells as much. */
async function openAnyRow(keyId: string, { sql, keys }: { sql: Sql; keys: KeyWrapPort }): Promise<void> {
  const [sealing] = await selectSealingKeyOf(sql, keyId)
  if (sealing !== undefined) {
    await openSealingKey(storedSealingKey(sealing), keys)
    return
  }
  const [secret] = await selectSecretOf(sql, keyId)
  if (secret === undefined) return
  const context = dataKeyContext(placeOf(secret), secret.sealed_key_id)
  const dataKey = await keys.unwrap({ keyId, wrapped: secret.wrapped_data_key }, context)
  dataKey.fill(0)
}
