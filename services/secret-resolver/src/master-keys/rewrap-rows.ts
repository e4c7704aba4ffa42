import type { Db } from '../database.ts'
import { sealingKeyContext } from '../sealing/sealing-key.ts'
import { dataKeyContext } from '../secrets/envelope.ts'
import type { StoredSecretRow } from '../secrets/store.ts'
import { placeOf } from '../secrets/stored.ts'

/** One row that a master key has wrapped something for. */
export interface WrappedRow {
  /** What a report calls the row: ids only. */
  readonly label: string
  /** Where the walk through the table goes on after this row. */
  readonly cursor: Cursor
  readonly wrapped: Buffer
  readonly context: Buffer
}

export interface Cursor {
  readonly text: string
  readonly version: number
}

export interface Rewrapped {
  readonly cursor: Cursor
  readonly wrapped: Buffer
}

/** A table with rows that are wrapped by master keys. */
export interface WrappedTable {
  readonly name: 'resource_secrets' | 'sealing_keys'
  /** The next rows of a key, locked; rows that somebody else has locked are left out. */
  take(tx: Db, at: { keyId: string; after: Cursor; limit: number }): Promise<WrappedRow[]>
  /** Writes what was wrapped again, and the key that it is wrapped with now. */
  put(tx: Db, keyId: string, rows: readonly Rewrapped[]): Promise<void>
}

/** Before the first row of every table. */
export const START: Cursor = { text: '', version: 0 }

type SecretRow = Pick<
  StoredSecretRow,
  'secret_ref' | 'organization_id' | 'resource_id' | 'version' | 'sealed_key_id' | 'wrapped_data_key'
>

/** One row that only this key opens. */
export function selectSecretOf(sql: Db, keyId: string) {
  return sql<SecretRow[]>`
    select secret_ref, organization_id, resource_id, version, sealed_key_id, wrapped_data_key
    from secrets.resource_secrets where key_id = ${keyId} and destroyed_at is null limit 1`
}

/** The next secrets of a key in the order of its index; every version that is not destroyed. */
export function takeSecrets(tx: Db, { keyId, after, limit }: { keyId: string; after: Cursor; limit: number }) {
  return tx<SecretRow[]>`
    select secret_ref, organization_id, resource_id, version, sealed_key_id, wrapped_data_key
    from secrets.resource_secrets
    where key_id = ${keyId} and destroyed_at is null and (secret_ref, version) > (${after.text}, ${after.version})
    order by secret_ref, version
    limit ${limit}
    for update skip locked`
}

const resourceSecrets: WrappedTable = {
  name: 'resource_secrets',
  async take(tx, at) {
    return (await takeSecrets(tx, at)).map(row => ({
      label: `${row.secret_ref}#${row.version}`,
      cursor: { text: row.secret_ref, version: row.version },
      wrapped: row.wrapped_data_key,
      context: dataKeyContext(placeOf(row), row.sealed_key_id),
    }))
  },
  async put(tx, keyId, rows) {
    await tx`
      update secrets.resource_secrets s set key_id = ${keyId}, wrapped_data_key = decode(done.wrapped, 'hex')
      from unnest(${rows.map(row => row.cursor.text)}::text[], ${rows.map(row => row.cursor.version)}::int[],
        ${rows.map(row => row.wrapped.toString('hex'))}::text[]) as done (secret_ref, version, wrapped)
      where s.secret_ref = done.secret_ref and s.version = done.version`
  },
}

const sealingKeys: WrappedTable = {
  name: 'sealing_keys',
  async take(tx, { keyId, after, limit }) {
    const rows = await tx<{ kid: string; wrapped_private_key: Buffer }[]>`
      select kid, wrapped_private_key from secrets.sealing_keys
      where key_id = ${keyId} and destroyed_at is null and kid > ${after.text}
      order by kid
      limit ${limit}
      for update skip locked`
    return rows.map(({ kid, wrapped_private_key }) => ({
      label: `sealing key ${kid}`,
      cursor: { text: kid, version: 0 },
      wrapped: wrapped_private_key,
      context: sealingKeyContext(kid),
    }))
  },
  async put(tx, keyId, rows) {
    await tx`
      update secrets.sealing_keys s set key_id = ${keyId}, wrapped_private_key = decode(done.wrapped, 'hex')
      from unnest(${rows.map(row => row.cursor.text)}::text[], ${rows.map(row => row.wrapped.toString('hex'))}::text[])
        as done (kid, wrapped)
      where s.kid = done.kid`
  },
}

/** Everything that a master key wraps. */
export const WRAPPED_TABLES: readonly WrappedTable[] = [sealingKeys, resourceSecrets]
