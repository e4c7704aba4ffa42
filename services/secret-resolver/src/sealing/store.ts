import type { KeyObject } from 'node:crypto'
import type { Sql } from 'postgres'
import type { Db } from '../database.ts'
import { problems } from '../errors.ts'
import { activeKeyId, holdActiveKey } from '../master-keys/store.ts'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import {
  createSealingKey,
  openSealingKey,
  SEALING_KEY_GRACE_MS,
  SEALING_KEY_MAX_AGE_MS,
  type SealingJwk,
  type StoredSealingKey,
} from './sealing-key.ts'

export interface SealingDeps {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  readonly now: () => Date
}

interface SealingKeyRow {
  readonly kid: string
  readonly wrapped_private_key: Buffer
  readonly key_id: string
  readonly created_at: Date
}

export function selectActiveSealingKey(sql: Db) {
  return sql<SealingKeyRow[]>`
    select kid, wrapped_private_key, key_id, created_at from secrets.sealing_keys where superseded_at is null`
}

/** One sealing key that only this master key opens. */
export function selectSealingKeyOf(sql: Db, keyId: string) {
  return sql<SealingKeyRow[]>`
    select kid, wrapped_private_key, key_id, created_at from secrets.sealing_keys
    where key_id = ${keyId} and destroyed_at is null limit 1`
}

/** A key that may open: the active one, or one that was superseded after `since`. */
export function selectOpeningKey(sql: Db, kid: string, since: Date) {
  return sql<SealingKeyRow[]>`
    select kid, wrapped_private_key, key_id, created_at from secrets.sealing_keys
    where kid = ${kid} and destroyed_at is null and (superseded_at is null or superseded_at > ${since})`
}

/**
 * The key that clients seal to now; makes the first one, and a new one where the active one is older than 90 days.
 * INVARIANT: all instances publish the same key: one makes it, under an advisory lock, the others find it.
 */
export async function activeSealingJwk(deps: SealingDeps): Promise<SealingJwk> {
  const now = deps.now()
  const [active] = await selectActiveSealingKey(deps.sql)
  const row = active !== undefined && isYoung(active, now) ? active : await rotateSealingKey(deps, now)
  return (await openSealingKey(storedSealingKey(row), deps.keys)).jwk
}

/** The private key of a `kid`, or undefined where it opens nothing (any more). */
export async function privateKeyOf(kid: string, deps: SealingDeps): Promise<KeyObject | undefined> {
  const since = new Date(deps.now().getTime() - SEALING_KEY_GRACE_MS)
  const [row] = await selectOpeningKey(deps.sql, kid, since)
  return row === undefined ? undefined : (await openSealingKey(storedSealingKey(row), deps.keys)).privateKey
}

/** Erases the private parts of keys whose day of grace is over; returns how many. */
export async function eraseOldSealingKeys({ sql, now }: Pick<SealingDeps, 'sql' | 'now'>): Promise<number> {
  const at = now()
  const { count } = await sql`
    update secrets.sealing_keys set wrapped_private_key = '', destroyed_at = ${at}
    where destroyed_at is null and superseded_at <= ${new Date(at.getTime() - SEALING_KEY_GRACE_MS)}`
  return count
}

async function rotateSealingKey({ sql, keys }: SealingDeps, now: Date): Promise<SealingKeyRow> {
  return await sql.begin(async tx => {
    await tx`select pg_advisory_xact_lock(hashtextextended('rap.secret-resolver:sealing-keys', 0))`
    // Another instance may have been first.
    const [active] = await selectActiveSealingKey(tx)
    if (active !== undefined && isYoung(active, now)) return active
    const keyId = await activeKeyId(tx)
    if (!(await holdActiveKey(tx, keyId))) throw problems.ERR_MASTER_KEY_CHANGED()
    const created = await createSealingKey(keys, keyId)
    await tx`update secrets.sealing_keys set superseded_at = ${now} where superseded_at is null`
    const row = {
      kid: created.kid,
      wrapped_private_key: created.wrappedPrivateKey,
      key_id: created.keyId,
      created_at: now,
    }
    await tx`insert into secrets.sealing_keys ${tx(row)}`
    return row
  })
}

function isYoung(row: SealingKeyRow, now: Date): boolean {
  return now.getTime() - row.created_at.getTime() < SEALING_KEY_MAX_AGE_MS
}

/** A row in the names of the domain. */
export function storedSealingKey(row: SealingKeyRow): StoredSealingKey {
  return { kid: row.kid, wrappedPrivateKey: row.wrapped_private_key, keyId: row.key_id }
}
