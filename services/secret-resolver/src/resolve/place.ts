import { type AuditEvent, checkedAuditEvent } from '@rap/service-kit'
import type { LeaseClaims } from '@rap/token-claims'
import type { Db } from '../database.ts'
import type { StoredSecretRow } from '../secrets/store.ts'

/** What the control plane's tables say about the place that a lease token names; null where a row is missing. */
export interface PlaceRow {
  readonly worker_state: string | null
  readonly session_state: string | null
  readonly session_organization_id: string | null
  readonly session_resource_id: string | null
  readonly attachment_state: string | null
  readonly attachment_session_id: string | null
  readonly attachment_worker_id: string | null
  readonly attachment_lease_id: string | null
  readonly resource_organization_id: string | null
  readonly resource_secret_ref: string | null
  readonly resource_is_deleted: boolean | null
}

/** The secret in force of the resource's own reference; every column is null where there is none. */
type SecretColumns = { readonly [C in keyof StoredSecretRow as `secret_${C}`]: StoredSecretRow[C] | null }

type StateRow = PlaceRow & SecretColumns & { readonly token_is_used: boolean }

/** Everything that the database is asked before a decision, as it was in one snapshot. */
export interface ResolveState {
  readonly place: PlaceRow | undefined
  readonly secret: StoredSecretRow | undefined
  /** Whether the token was spent by then; that it was not is no promise, only `spendToken` decides. */
  readonly isTokenUsed: boolean
}

/** Always one row; each table is read by its primary key, so that a mismatch shows as one and not as a missing row. */
export function selectState(sql: Db, claims: LeaseClaims) {
  return sql<StateRow[]>`
    select
      w.state as worker_state,
      s.state as session_state,
      s.organization_id as session_organization_id,
      s.resource_id as session_resource_id,
      a.state as attachment_state,
      a.session_id as attachment_session_id,
      a.worker_id as attachment_worker_id,
      a.lease_id as attachment_lease_id,
      r.organization_id as resource_organization_id,
      r.secret_ref as resource_secret_ref,
      r.deleted_at is not null as resource_is_deleted,
      x.secret_ref as secret_secret_ref,
      x.organization_id as secret_organization_id,
      x.resource_id as secret_resource_id,
      x.version as secret_version,
      x.ciphertext as secret_ciphertext,
      x.nonce as secret_nonce,
      x.key_id as secret_key_id,
      x.sealed_key_id as secret_sealed_key_id,
      x.algorithm as secret_algorithm,
      x.wrapped_data_key as secret_wrapped_data_key,
      x.payload_sha256 as secret_payload_sha256,
      exists (select from secrets.lease_token_jtis j where j.jti = named.jti) as token_is_used
    from (select ${claims.worker_id}::uuid as worker_id, ${claims.session_id}::uuid as session_id,
      ${claims.attachment_id}::uuid as attachment_id, ${claims.resource_id}::uuid as resource_id,
      ${claims.jti}::text as jti) named
    left join rap.workers w on w.id = named.worker_id
    left join rap.remote_sessions s on s.id = named.session_id
    left join rap.session_attachments a on a.id = named.attachment_id
    left join rap.resources r on r.id = named.resource_id
    left join secrets.resource_secrets x
      on x.secret_ref = r.secret_ref and x.superseded_at is null and x.destroyed_at is null`
}

/** The state behind a lease token. */
export async function readState(sql: Db, claims: LeaseClaims): Promise<ResolveState> {
  const [row] = await selectState(sql, claims)
  return { place: row, secret: secretOf(row), isTokenUsed: row?.token_is_used !== false }
}

function secretOf(row: StateRow | undefined): StoredSecretRow | undefined {
  // The columns of a stored row are never null, so one of them tells for all.
  if (row === undefined || row.secret_secret_ref === null) return undefined
  return {
    secret_ref: row.secret_secret_ref,
    organization_id: row.secret_organization_id,
    resource_id: row.secret_resource_id,
    version: row.secret_version,
    ciphertext: row.secret_ciphertext,
    nonce: row.secret_nonce,
    key_id: row.secret_key_id,
    sealed_key_id: row.secret_sealed_key_id,
    algorithm: row.secret_algorithm,
    wrapped_data_key: row.secret_wrapped_data_key,
    payload_sha256: row.secret_payload_sha256,
  } as StoredSecretRow
}

/**
 * The credentials that a development resource keeps in its metadata, as payload bytes: put together by Postgres, so that
 * they go the same way as a stored secret.
 */
export function selectMetadataPayload(sql: Db, resourceId: string) {
  return sql<{ payload: Buffer }[]>`
    select convert_to(jsonb_strip_nulls(jsonb_build_object(
      'version', 1, 'protocol', protocol, 'username', metadata -> 'username', 'domain', metadata -> 'domain',
      'password', metadata -> 'password'
    ))::text, 'UTF8') as payload
    from rap.resources
    where id = ${resourceId} and deleted_at is null`
}

/**
 * Spends a token and appends the event of its answer, in one statement and so in one transaction: neither is there without
 * the other. Answers no row, and appends nothing, where the token was spent before; a second statement for the same token
 * waits here for the first one.
 */
export function spendToken(sql: Db, claims: LeaseClaims, event: AuditEvent) {
  return sql<{ appended: unknown }[]>`
    with spent as (
      insert into secrets.lease_token_jtis (jti, lease_id, worker_id, expires_at)
      values (${claims.jti}, ${claims.lease_id}, ${claims.worker_id}, to_timestamp(${claims.exp}))
      on conflict (jti) do nothing
      returning jti
    )
    select rap.append_audit_event(${sql.json(checkedAuditEvent(event) as never)}) as appended from spent`
}

/**
 * Forgets tokens that expired a quarter of an hour ago by the database's clock, so that a service whose clock is behind
 * still finds them. Returns how many; at most a batch, so that no lock is held for long.
 */
export async function sweepJtis(sql: Db): Promise<number> {
  const { count } = await sql`
    delete from secrets.lease_token_jtis where jti in (
      select jti from secrets.lease_token_jtis
      where expires_at < now() - interval '15 minutes'
      order by expires_at
      limit 5000
    )`
  return count
}
