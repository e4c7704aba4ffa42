import type { KeyDescription } from '@rap/key-provider'
import type { Sql } from 'postgres'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import { selectInstances } from './instances.ts'
import { type MasterKeyState, selectKeyUses, selectMasterKeys } from './store.ts'

/** What an operator or an auditor may know about a master key. */
export interface MasterKeyReport {
  readonly key_id: string
  readonly source: string
  readonly state: MasterKeyState
  /** Where the key lives; null where this process does not have its source. */
  readonly provider: KeyDescription['provider'] | null
  readonly algorithm: string | null
  readonly location: string | null
  /** Secret versions and sealing keys that only this key opens. */
  readonly secrets: number
  readonly sealing_keys: number
  /** Running resolvers that do not have the key's source. */
  readonly missing_on: readonly string[]
  readonly created_at: Date
  readonly activated_at: Date | null
  readonly retired_at: Date | null
}

export interface KeySourceReport {
  readonly name: string
  /** `ok`, or a few words about what is wrong. */
  readonly health: string
}

/** Every key that ever was, the sources of this process, and the running resolvers. */
export async function reportKeys({ sql, keys }: { sql: Sql; keys: KeyWrapPort }) {
  const [rows, uses, instances, sources] = await Promise.all([
    selectMasterKeys(sql),
    selectKeyUses(sql),
    selectInstances(sql),
    Promise.all(keys.sources.map(async source => ({ name: source.name, health: await source.health() }))),
  ])
  const items = rows.map((row): MasterKeyReport => {
    const use = uses.find(({ key_id }) => key_id === row.key_id)
    const description = keys.has(row.key_id) ? keys.key(row.key_id).describe() : undefined
    return {
      key_id: row.key_id,
      source: row.source,
      state: row.state,
      provider: description?.provider ?? null,
      algorithm: description?.algorithm ?? null,
      location: description?.location ?? null,
      secrets: use?.secrets ?? 0,
      sealing_keys: use?.sealing_keys ?? 0,
      missing_on:
        row.state === 'retired' ? [] : instances.filter(i => !i.sources.includes(row.source)).map(i => i.name),
      created_at: row.created_at,
      activated_at: row.activated_at,
      retired_at: row.retired_at,
    }
  })
  return {
    items,
    sources: sources satisfies KeySourceReport[],
    instances: instances.map(({ name, sources: held, seen_at }) => ({ name, sources: held, seen_at })),
  }
}
