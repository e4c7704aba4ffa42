import { randomUUID } from 'node:crypto'
import type { SpiffeKind } from '@rap/pki'
import type { Sql, TransactionSql } from '@rap/service-kit'
import type { Labels } from '../workers/labels.ts'
import type { RegisteredNames } from './names.ts'

type Db = Sql | TransactionSql

/** Who may hold a certificate of the platform CA, with what an administrator registered. */
export interface IdentityRow {
  readonly kind: SpiffeKind
  readonly id: string
  readonly name: string
  readonly dns_names: string[]
  readonly ip_addresses: string[]
  readonly labels: Labels
  readonly state: 'active' | 'revoked'
  readonly created_at: Date
  readonly revoked_at: Date | null
}

export interface CertificateRow {
  readonly serial: string
  readonly kind: SpiffeKind
  readonly identity_id: string
  readonly generation: number
  readonly thumbprint: string
  readonly not_before: Date
  readonly not_after: Date
}

export interface JoinTokenRow {
  readonly id: string
  readonly secret_sha256: Buffer
  readonly kind: SpiffeKind
  readonly identity_id: string
  readonly created_at: Date
  readonly expires_at: Date
  readonly used_at: Date | null
  readonly used_key_sha256: string | null
  readonly deleted_at: Date | null
}

export const namesOf = (row: Pick<IdentityRow, 'dns_names' | 'ip_addresses'>): RegisteredNames => ({
  dnsNames: row.dns_names,
  ipAddresses: row.ip_addresses,
})

const columns = (db: Db) =>
  db`i.kind, i.id, i.name, i.dns_names, i.ip_addresses, i.labels, i.state, i.created_at, i.revoked_at`

/** Serialises what is done to one identity: enrolment, renewal and revocation do not cross. */
export async function lockIdentity(tx: TransactionSql, kind: SpiffeKind, id: string): Promise<IdentityRow | undefined> {
  const [row] = await tx<IdentityRow[]>`
    select ${columns(tx)} from rap.identities i where i.kind = ${kind} and i.id = ${id} for update`
  return row
}

export async function findIdentity(db: Db, kind: SpiffeKind, id: string): Promise<IdentityRow | undefined> {
  const [row] = await db<IdentityRow[]>`
    select ${columns(db)} from rap.identities i where i.kind = ${kind} and i.id = ${id}`
  return row
}

export interface Registration extends RegisteredNames {
  readonly kind: SpiffeKind
  /** A new worker gets one. */
  readonly id: string | undefined
  readonly name: string
  readonly labels: Labels
}

/** Registers an identity, or gives one that is there other names; undefined where it is revoked for good. */
export async function register(tx: TransactionSql, given: Registration): Promise<IdentityRow | undefined> {
  const id = given.id ?? randomUUID()
  const [row] = await tx<IdentityRow[]>`
    insert into rap.identities as i (kind, id, name, dns_names, ip_addresses, labels)
    values (${given.kind}, ${id}, ${given.name}, ${given.dnsNames}, ${given.ipAddresses}, ${tx.json(given.labels)})
    on conflict on constraint identities_pkey do update
      set name = excluded.name, dns_names = excluded.dns_names, ip_addresses = excluded.ip_addresses,
        labels = excluded.labels, state = 'active', revoked_at = null, revoked_by = null
      where i.kind = 'service' or i.state = 'active'
    returning ${columns(tx)}`
  return row
}

export type IdentityWithCertificate = IdentityRow & {
  readonly serial: string | null
  readonly thumbprint: string | null
  readonly generation: number | null
  readonly not_before: Date | null
  readonly not_after: Date | null
  readonly place: string
}

/** Identities with their newest certificate, by kind and id. */
export async function listIdentities(
  db: Db,
  { after, limit }: { after: { kind: string; id: string } | undefined; limit: number },
): Promise<IdentityWithCertificate[]> {
  return await db<IdentityWithCertificate[]>`
    select ${columns(db)}, c.serial, c.thumbprint, c.generation, c.not_before, c.not_after, i.kind || '/' || i.id as place
    from rap.identities i left join lateral (
      select * from rap.issued_certificates c where c.kind = i.kind and c.identity_id = i.id
      order by c.issued_at desc limit 1
    ) c on true
    ${after === undefined ? db`` : db`where (i.kind, i.id) > (${after.kind}, ${after.id})`}
    order by i.kind, i.id limit ${limit}`
}

export async function insertJoinToken(
  tx: TransactionSql,
  token: { id: string; secretSha256: Buffer; identity: IdentityRow; createdBy: string | null; ttlSeconds: number },
): Promise<{ expires_at: Date }> {
  const { identity } = token
  const [row] = await tx<{ expires_at: Date }[]>`
    insert into rap.join_tokens (id, secret_sha256, kind, identity_id, created_by, expires_at)
    values (${token.id}, ${token.secretSha256}, ${identity.kind}, ${identity.id}, ${token.createdBy},
      now() + make_interval(secs => ${token.ttlSeconds}))
    returning expires_at`
  return row as { expires_at: Date }
}

/** Locked: of two uses at once, the second sees what the first has done. */
export async function lockJoinToken(tx: TransactionSql, id: string): Promise<JoinTokenRow | undefined> {
  const [row] = await tx<JoinTokenRow[]>`select * from rap.join_tokens where id = ${id} for update`
  return row
}

export async function spendJoinToken(tx: TransactionSql, id: string, keySha256: string): Promise<void> {
  await tx`
    update rap.join_tokens set used_at = now(), used_key_sha256 = ${keySha256} where id = ${id} and used_at is null`
}

export async function deleteJoinToken(tx: TransactionSql, id: string): Promise<JoinTokenRow | undefined> {
  const [row] = await tx<JoinTokenRow[]>`
    update rap.join_tokens set deleted_at = now() where id = ${id} and deleted_at is null returning *`
  return row
}

export type ListedToken = Omit<JoinTokenRow, 'secret_sha256' | 'used_key_sha256'> &
  Pick<IdentityRow, 'name' | 'dns_names' | 'ip_addresses' | 'labels'> & {
    readonly state: string
    readonly place: string
  }

export async function listJoinTokens(
  db: Db,
  { after, limit }: { after: { at: string; id: string } | undefined; limit: number },
): Promise<ListedToken[]> {
  return await db<ListedToken[]>`
    select j.id, j.kind, j.identity_id, i.name, i.dns_names, i.ip_addresses, i.labels, j.created_at, j.expires_at,
      j.used_at, j.deleted_at,
      case when j.used_at is not null then 'used' when j.deleted_at is not null then 'deleted'
        when j.expires_at <= now() then 'expired' else 'open' end as state,
      to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || j.id as place
    from rap.join_tokens j join rap.identities i on i.kind = j.kind and i.id = j.identity_id
    ${after === undefined ? db`` : db`where (j.created_at, j.id) < (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by j.created_at desc, j.id desc limit ${limit}`
}

export async function insertCertificate(
  tx: TransactionSql,
  row: CertificateRow & { readonly reason: 'enrolment' | 'renewal' | 'operator' },
): Promise<void> {
  await tx`
    insert into rap.issued_certificates (serial, kind, identity_id, generation, thumbprint, reason, not_before, not_after)
    values (${row.serial}, ${row.kind}, ${row.identity_id}, ${row.generation}, ${row.thumbprint}, ${row.reason},
      ${row.not_before}, ${row.not_after})`
}

/** The owner has a newer one from now on. False where it had one before: an answer was lost, or there are two holders. */
export async function markReplaced(tx: TransactionSql, thumbprint: string): Promise<boolean> {
  const rows = await tx`
    update rap.issued_certificates set replaced_at = now() where thumbprint = ${thumbprint} and replaced_at is null
    returning serial`
  return rows.length === 1
}

export async function findCertificate(db: Db, thumbprint: string): Promise<CertificateRow | undefined> {
  const [row] = await db<CertificateRow[]>`select * from rap.issued_certificates where thumbprint = ${thumbprint}`
  return row
}

/** Certificates that ended long ago say nothing any more; the audit keeps that they were issued. */
export async function deleteEndedCertificates(sql: Sql, limit: number): Promise<void> {
  await sql`
    delete from rap.issued_certificates where ctid = any(array(
      select ctid from rap.issued_certificates where not_after < now() - interval '30 days' limit ${limit}))`
  await sql`
    delete from rap.join_tokens where ctid = any(array(
      select ctid from rap.join_tokens where expires_at < now() - interval '30 days' limit ${limit}))`
}
