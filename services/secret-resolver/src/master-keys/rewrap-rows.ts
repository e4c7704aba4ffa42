import type { PendingQuery, Row } from 'postgres'
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
  /** The content beside the wrapped key, where it was asked for. */
  readonly content?: { readonly ciphertext: Buffer; readonly sha256: string } | undefined
}

export interface Cursor {
  readonly text: string
  readonly version: number
}

export interface Rewrapped {
  readonly cursor: Cursor
  readonly wrapped: Buffer
}

/** The rows of one key, in the order of their index. */
export interface RowsOfKey {
  readonly keyId: string
  readonly after: Cursor
  readonly limit: number
}

/** A table with rows that are wrapped by master keys. */
export interface WrappedTable {
  readonly name: 'resource_secrets' | 'sealing_keys'
  /** The next rows of a key, contents included. */
  read(sql: Db, at: RowsOfKey): Promise<WrappedRow[]>
  /** The next rows of a key, locked; rows that somebody else has locked are left out. */
  take(tx: Db, at: RowsOfKey): Promise<WrappedRow[]>
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

/** The next secrets of a key; every version that is not destroyed. */
export function takeSecrets(tx: Db, { keyId, after, limit }: RowsOfKey) {
  return tx<SecretRow[]>`
    select secret_ref, organization_id, resource_id, version, sealed_key_id, wrapped_data_key
    from secrets.resource_secrets
    where key_id = ${keyId} and destroyed_at is null and (secret_ref, version) > (${after.text}, ${after.version})
    order by secret_ref, version
    limit ${limit}
    for update skip locked`
}

export function readSecrets(sql: Db, { keyId, after, limit }: RowsOfKey) {
  return sql<(SecretRow & Pick<StoredSecretRow, 'ciphertext' | 'payload_sha256'>)[]>`
    select secret_ref, organization_id, resource_id, version, sealed_key_id, wrapped_data_key, ciphertext, payload_sha256
    from secrets.resource_secrets
    where key_id = ${keyId} and destroyed_at is null and (secret_ref, version) > (${after.text}, ${after.version})
    order by secret_ref, version
    limit ${limit}`
}

/** A statement's own words at its end; `lock` is what keeps other runners off. */
type Ending = (sql: Db) => PendingQuery<Row[]>
const lock: Ending = sql => sql`for update skip locked`
const noLock: Ending = sql => sql``

function selectSealingKeys(sql: Db, { keyId, after, limit }: RowsOfKey, ending: Ending) {
  return sql<{ kid: string; wrapped_private_key: Buffer }[]>`
    select kid, wrapped_private_key from secrets.sealing_keys
    where key_id = ${keyId} and destroyed_at is null and kid > ${after.text}
    order by kid
    limit ${limit}
    ${ending(sql)}`
}

function wrappedSecret(row: SecretRow): WrappedRow {
  return {
    label: `${row.secret_ref}#${row.version}`,
    cursor: { text: row.secret_ref, version: row.version },
    wrapped: row.wrapped_data_key,
    context: dataKeyContext(placeOf(row), row.sealed_key_id),
  }
}

function wrappedSealingKey({ kid, wrapped_private_key }: { kid: string; wrapped_private_key: Buffer }): WrappedRow {
  return {
    label: `sealing key ${kid}`,
    cursor: { text: kid, version: 0 },
    wrapped: wrapped_private_key,
    context: sealingKeyContext(kid),
  }
}

const resourceSecrets: WrappedTable = {
  name: 'resource_secrets',
  read: async (sql, at) =>
    (await readSecrets(sql, at)).map(row => ({
      ...wrappedSecret(row),
      content: { ciphertext: row.ciphertext, sha256: row.payload_sha256 },
    })),
  take: async (tx, at) => (await takeSecrets(tx, at)).map(wrappedSecret),
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
  read: async (sql, at) => (await selectSealingKeys(sql, at, noLock)).map(wrappedSealingKey),
  take: async (tx, at) => (await selectSealingKeys(tx, at, lock)).map(wrappedSealingKey),
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
