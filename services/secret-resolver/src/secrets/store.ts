import type { Db } from '../database.ts'
import type { Envelope } from './envelope.ts'

/** A stored version that is in force, envelope included. */
export interface LiveSecretRow {
  readonly secret_ref: string
  readonly organization_id: string
  readonly resource_id: string
  readonly version: number
  readonly ciphertext: Buffer
  readonly nonce: Buffer
  readonly key_id: string
  readonly algorithm: string
  readonly wrapped_data_key: Buffer
  readonly payload_sha256: string
}

/** What may be told about a stored version; none of it says anything about the content. */
export interface SecretMetadata {
  readonly secret_ref: string
  readonly version: number
  readonly key_id: string
  readonly algorithm: string
  readonly payload_sha256: string
  readonly created_at: Date
  readonly created_by: string
}

export interface NewVersion {
  readonly secretRef: string
  readonly organizationId: string
  readonly resourceId: string
  readonly version: number
  readonly envelope: Envelope
  readonly createdBy: string
}

/** Whether the organization has such a resource; a deleted one does not count. */
export function selectResource(sql: Db, organizationId: string, resourceId: string) {
  return sql<{ id: string }[]>`
    select id from rap.resources
    where organization_id = ${organizationId} and id = ${resourceId} and deleted_at is null`
}

export function selectLive(sql: Db, secretRef: string) {
  return sql<LiveSecretRow[]>`
    select secret_ref, organization_id, resource_id, version, ciphertext, nonce, key_id, algorithm, wrapped_data_key,
      payload_sha256
    from secrets.resource_secrets
    where secret_ref = ${secretRef} and destroyed_at is null`
}

export function selectLiveMetadata(sql: Db, secretRef: string) {
  return sql<SecretMetadata[]>`
    select secret_ref, version, key_id, algorithm, payload_sha256, created_at, created_by
    from secrets.resource_secrets
    where secret_ref = ${secretRef} and destroyed_at is null`
}

/** The newest version, and whether it is in force; versions are counted on after a deletion. */
export function selectNewest(sql: Db, secretRef: string) {
  return sql<{ version: number; is_live: boolean }[]>`
    select version, destroyed_at is null as is_live
    from secrets.resource_secrets
    where secret_ref = ${secretRef}
    order by version desc
    limit 1`
}

/**
 * Crypto-erases one version: its content and its data key are overwritten, the rest stays as a tombstone.
 * Answers the row where this call did it, and none where the version was not in force any more.
 */
export function eraseVersion(sql: Db, secretRef: string, version: number) {
  return sql<{ version: number; destroyed_at: Date }[]>`
    update secrets.resource_secrets
    set ciphertext = '', wrapped_data_key = '', destroyed_at = now()
    where secret_ref = ${secretRef} and version = ${version} and destroyed_at is null
    returning version, destroyed_at`
}

/** Answers no row where another writer has taken the version number. */
export function insertVersion(sql: Db, { envelope, ...row }: NewVersion) {
  return sql<SecretMetadata[]>`
    insert into secrets.resource_secrets (
      secret_ref, organization_id, resource_id, version, ciphertext, nonce, key_id, algorithm, wrapped_data_key,
      metadata, payload_sha256, created_by
    ) values (
      ${row.secretRef}, ${row.organizationId}, ${row.resourceId}, ${row.version}, ${envelope.ciphertext},
      ${envelope.nonce}, ${envelope.keyId}, ${envelope.algorithm}, ${envelope.wrappedDataKey},
      ${sql.json({ protocol: 'rdp', payload_version: 1 })}, ${envelope.payloadSha256}, ${row.createdBy}
    )
    on conflict (secret_ref, version) do nothing
    returning secret_ref, version, key_id, algorithm, payload_sha256, created_at, created_by`
}

/** The master key ids that stored secrets and sealing keys still need, with how many rows need each. */
export function selectNeededKeyIds(sql: Db) {
  return sql<{ key_id: string; count: number }[]>`
    select key_id, sum(count)::int as count from (
      select key_id, count(*) from secrets.resource_secrets where destroyed_at is null group by key_id
      union all
      select key_id, count(*) from secrets.sealing_keys where destroyed_at is null group by key_id
    ) needed
    group by key_id
    order by key_id`
}
