import type { Db } from '../database.ts'
import type { Envelope } from './envelope.ts'

/** A stored version whose content is there, envelope included. */
export interface StoredSecretRow {
  readonly secret_ref: string
  readonly organization_id: string
  readonly resource_id: string
  readonly version: number
  readonly ciphertext: Buffer
  readonly nonce: Buffer
  readonly key_id: string
  readonly sealed_key_id: string
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

/** One entry of the history; `live` is the one version in force, `superseded` can be gone back to. */
export interface SecretVersion extends SecretMetadata {
  readonly state: 'live' | 'superseded' | 'destroyed'
  readonly superseded_at: Date | null
  /** When a superseded version is destroyed, at the latest; more versions than are kept destroy it earlier. */
  readonly destroy_after: Date | null
  readonly destroyed_at: Date | null
}

export interface NewVersion {
  readonly secretRef: string
  readonly organizationId: string
  readonly resourceId: string
  readonly version: number
  readonly envelope: Envelope
  readonly createdBy: string
}

/** Longest history that is told, in versions. */
const MAX_HISTORY = 100
/** Versions that one round of the sweep destroys, so that no lock is held for long. */
const DESTROY_BATCH = 200

/** Whether the organization has such a resource; a deleted one does not count. */
export function selectResource(sql: Db, organizationId: string, resourceId: string) {
  return sql<{ id: string }[]>`
    select id from rap.resources
    where organization_id = ${organizationId} and id = ${resourceId} and deleted_at is null`
}

/** An older version that is still there. */
export function selectSuperseded(sql: Db, secretRef: string, version: number) {
  return sql<StoredSecretRow[]>`
    select secret_ref, organization_id, resource_id, version, ciphertext, nonce, key_id, sealed_key_id, algorithm,
      wrapped_data_key, payload_sha256
    from secrets.resource_secrets
    where secret_ref = ${secretRef} and version = ${version} and superseded_at is not null and destroyed_at is null`
}

export function selectLiveMetadata(sql: Db, secretRef: string) {
  return sql<SecretMetadata[]>`
    select secret_ref, version, key_id, algorithm, payload_sha256, created_at, created_by
    from secrets.resource_secrets
    where secret_ref = ${secretRef} and superseded_at is null and destroyed_at is null`
}

/** The history, the newest version first; tombstones included. */
export function selectVersions(sql: Db, secretRef: string, retentionMs: number) {
  return sql<SecretVersion[]>`
    select secret_ref, version, key_id, algorithm, payload_sha256, created_at, created_by, superseded_at, destroyed_at,
      case when destroyed_at is null then superseded_at + make_interval(secs => ${retentionMs / 1000}) end as destroy_after,
      case when destroyed_at is not null then 'destroyed' when superseded_at is not null then 'superseded' else 'live' end
        as state
    from secrets.resource_secrets
    where secret_ref = ${secretRef}
    order by version desc
    limit ${MAX_HISTORY}`
}

/** The newest version, and whether it is in force; versions are counted on after a deletion. */
export function selectNewest(sql: Db, secretRef: string) {
  return sql<{ version: number; is_live: boolean }[]>`
    select version, superseded_at is null and destroyed_at is null as is_live
    from secrets.resource_secrets
    where secret_ref = ${secretRef}
    order by version desc
    limit 1`
}

/** Ends a version's time in force. Answers no row where it was not in force any more. */
export function supersedeVersion(sql: Db, secretRef: string, version: number) {
  return sql<{ version: number }[]>`
    update secrets.resource_secrets set superseded_at = now()
    where secret_ref = ${secretRef} and version = ${version} and superseded_at is null and destroyed_at is null
    returning version`
}

/**
 * Answers no row where another writer has taken the version number or its place in force.
 *
 * The conflict names no index: with one named, a writer that loses on the other one fails instead of being told.
 */
export function insertVersion(sql: Db, { envelope, ...row }: NewVersion) {
  return sql<SecretMetadata[]>`
    insert into secrets.resource_secrets (
      secret_ref, organization_id, resource_id, version, ciphertext, nonce, key_id, sealed_key_id, algorithm,
      wrapped_data_key, metadata, payload_sha256, created_by
    ) values (
      ${row.secretRef}, ${row.organizationId}, ${row.resourceId}, ${row.version}, ${envelope.ciphertext},
      ${envelope.nonce}, ${envelope.keyId}, ${envelope.sealedKeyId}, ${envelope.algorithm}, ${envelope.wrappedDataKey},
      ${sql.json({ protocol: 'rdp', payload_version: 1 })}, ${envelope.payloadSha256}, ${row.createdBy}
    )
    on conflict do nothing
    returning secret_ref, version, key_id, algorithm, payload_sha256, created_at, created_by`
}

/**
 * Crypto-erases every version of a secret: content and data key are overwritten, the rest stays as tombstones.
 * Answers the versions that this call destroyed.
 */
export function destroyAll(sql: Db, secretRef: string) {
  return sql<{ version: number; destroyed_at: Date; was_live: boolean }[]>`
    update secrets.resource_secrets set ciphertext = '', wrapped_data_key = '', destroyed_at = now()
    where secret_ref = ${secretRef} and destroyed_at is null
    returning version, destroyed_at, superseded_at is null as was_live`
}

/** Crypto-erases the superseded versions of a secret but for the newest `keep` of them. */
export function destroyBeyond(sql: Db, secretRef: string, keep: number) {
  return sql<{ version: number }[]>`
    update secrets.resource_secrets set ciphertext = '', wrapped_data_key = '', destroyed_at = now()
    where secret_ref = ${secretRef} and version in (
      select version from secrets.resource_secrets
      where secret_ref = ${secretRef} and superseded_at is not null and destroyed_at is null
      order by version desc
      offset ${keep}
    )
    returning version`
}

/** Crypto-erases versions that were superseded longer ago than their time for a rollback; at most a batch. */
export function destroyExpired(sql: Db, supersededBefore: Date) {
  return sql<{ secret_ref: string; organization_id: string; resource_id: string; version: number }[]>`
    update secrets.resource_secrets set ciphertext = '', wrapped_data_key = '', destroyed_at = now()
    where (secret_ref, version) in (
      select secret_ref, version from secrets.resource_secrets
      where superseded_at is not null and destroyed_at is null and superseded_at < ${supersededBefore}
      order by superseded_at
      limit ${DESTROY_BATCH}
      for update skip locked
    )
    returning secret_ref, organization_id, resource_id, version`
}
