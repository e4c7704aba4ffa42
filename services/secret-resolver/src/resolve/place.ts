import type { LeaseClaims } from '@rap/token-claims'
import type { Db } from '../database.ts'

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

/** Always one row; each table is read by its primary key, so that a mismatch shows as one and not as a missing row. */
export function selectPlace(sql: Db, claims: LeaseClaims) {
  return sql<PlaceRow[]>`
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
      r.deleted_at is not null as resource_is_deleted
    from (select ${claims.worker_id}::uuid as worker_id, ${claims.session_id}::uuid as session_id,
      ${claims.attachment_id}::uuid as attachment_id, ${claims.resource_id}::uuid as resource_id) named
    left join rap.workers w on w.id = named.worker_id
    left join rap.remote_sessions s on s.id = named.session_id
    left join rap.session_attachments a on a.id = named.attachment_id
    left join rap.resources r on r.id = named.resource_id`
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

/** Spends a token; answers no row where it was spent before. A second transaction waits here for the first one. */
export function insertJti(sql: Db, claims: LeaseClaims) {
  return sql<{ jti: string }[]>`
    insert into secrets.lease_token_jtis (jti, lease_id, worker_id, expires_at)
    values (${claims.jti}, ${claims.lease_id}, ${claims.worker_id}, to_timestamp(${claims.exp}))
    on conflict (jti) do nothing
    returning jti`
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
