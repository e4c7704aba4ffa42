import type { Db } from '../database.ts'
import { problems } from '../errors.ts'

/**
 * `active` wraps what is new, `available` still opens what it has wrapped, and `retired` wraps nothing any more, which
 * was checked when it became so.
 */
export type MasterKeyState = 'available' | 'active' | 'retired'

export interface MasterKeyRow {
  readonly key_id: string
  readonly source: string
  readonly state: MasterKeyState
  readonly check_value: Buffer | null
  readonly created_at: Date
  readonly activated_at: Date | null
  readonly retired_at: Date | null
}

/** A master key and the stored rows that only it opens. */
export interface MasterKeyUse {
  readonly key_id: string
  readonly secrets: number
  readonly sealing_keys: number
}

/** The active key first, retired ones last. */
export function selectMasterKeys(sql: Db) {
  return sql<MasterKeyRow[]>`
    select key_id, source, state, check_value, created_at, activated_at, retired_at
    from secrets.master_keys
    order by case state when 'active' then 0 when 'available' then 1 else 2 end, key_id`
}

export function selectMasterKey(sql: Db, keyId: string) {
  return sql<MasterKeyRow[]>`
    select key_id, source, state, check_value, created_at, activated_at, retired_at
    from secrets.master_keys where key_id = ${keyId}`
}

/** As `selectMasterKey`; nobody wraps with the key, and nobody changes its state, until the transaction ends. */
export function lockMasterKey(sql: Db, keyId: string) {
  return sql<MasterKeyRow[]>`
    select key_id, source, state, check_value, created_at, activated_at, retired_at
    from secrets.master_keys where key_id = ${keyId} for update`
}

export function selectActiveKey(sql: Db) {
  return sql<Pick<MasterKeyRow, 'key_id' | 'source'>[]>`
    select key_id, source from secrets.master_keys where state = 'active'`
}

/**
 * The key that wraps what is new. Asked for each write, so that a rotation holds for every instance at once.
 * Throws ProblemError ERR_MASTER_KEY_NONE_ACTIVE.
 */
export async function activeKeyId(sql: Db): Promise<string> {
  const [active] = await selectActiveKey(sql)
  if (active === undefined) throw problems.ERR_MASTER_KEY_NONE_ACTIVE()
  return active.key_id
}

/** Keeps the key active until the transaction ends; false where it is not active any more. */
export async function holdActiveKey(tx: Db, keyId: string): Promise<boolean> {
  const rows = await tx`
    select from secrets.master_keys where key_id = ${keyId} and state = 'active' for share`
  return rows.length === 1
}

/** Every key with the rows that need it: all versions that are not destroyed, and the sealing keys. */
export function selectKeyUses(sql: Db) {
  return sql<MasterKeyUse[]>`
    select key_id, sum(secrets)::int as secrets, sum(sealing_keys)::int as sealing_keys from (
      select key_id, count(*) as secrets, 0 as sealing_keys
      from secrets.resource_secrets where destroyed_at is null group by key_id
      union all
      select key_id, 0, count(*) from secrets.sealing_keys where destroyed_at is null group by key_id
    ) used
    group by key_id
    order by key_id`
}

/** Makes a key known. Answers no row where it was known already. */
export function insertMasterKey(sql: Db, key: Pick<MasterKeyRow, 'key_id' | 'source'> & { check_value: Buffer }) {
  return sql<{ key_id: string }[]>`
    insert into secrets.master_keys (key_id, source, check_value)
    values (${key.key_id}, ${key.source}, ${key.check_value})
    on conflict (key_id) do nothing
    returning key_id`
}

export async function completeMasterKey(
  sql: Db,
  key: Pick<MasterKeyRow, 'key_id' | 'source'> & { check_value: Buffer },
) {
  await sql`
    update secrets.master_keys set check_value = ${key.check_value}, source = ${key.source}
    where key_id = ${key.key_id} and check_value is null`
}

/** Changes of which key is active are made one after the other. */
export async function lockRotation(tx: Db): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended('rap.secret-resolver:master-keys', 0))`
}

/** Makes `keyId` the active key. Call it under `lockRotation`. */
export async function activate(tx: Db, keyId: string): Promise<void> {
  await tx`update secrets.master_keys set state = 'available' where state = 'active'`
  await tx`update secrets.master_keys set state = 'active', activated_at = now() where key_id = ${keyId}`
}

export async function markRetired(tx: Db, keyId: string): Promise<void> {
  await tx`update secrets.master_keys set state = 'retired', retired_at = now() where key_id = ${keyId}`
}
