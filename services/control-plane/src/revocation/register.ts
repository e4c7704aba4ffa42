import type { Revocation, Sql, TransactionSql } from '@rap/service-kit'

type Db = Sql | TransactionSql

/** Everything that is refused although its certificate is valid; the secret-resolver reads the same view. */
export async function listRevocations(db: Db): Promise<Revocation[]> {
  return await db<Revocation[]>`select kind, id, thumbprint from rap.revocations`
}

export interface RevokedIdentity {
  readonly kind: string
  readonly id: string
  readonly name: string
  readonly revoked_at: Date
}

/** Undefined where there is no such worker, or where it was revoked before. */
export async function markWorkerRevoked(
  tx: TransactionSql,
  id: string,
  userId: string,
): Promise<RevokedIdentity | undefined> {
  const [row] = await tx<RevokedIdentity[]>`
    update rap.workers set state = 'revoked', revoked_at = now(), revoked_by = ${userId}
    where id = ${id} and state = 'active' returning 'worker' as kind, id, name, revoked_at`
  return row
}

/** Undefined where nobody of this name is registered, or where it was revoked before. */
export async function markIdentityRevoked(
  tx: TransactionSql,
  { kind, id, userId }: { kind: 'worker' | 'service'; id: string; userId: string },
): Promise<RevokedIdentity | undefined> {
  const [row] = await tx<RevokedIdentity[]>`
    update rap.identities set state = 'revoked', revoked_at = now(), revoked_by = ${userId}
    where kind = ${kind} and id = ${id} and state = 'active' returning kind, id, name, revoked_at`
  return row
}

/** Somebody who is revoked; a worker may be known by its announcement, by its registration or by both. */
export async function findRevoked(
  db: Db,
  kind: 'worker' | 'service',
  id: string,
): Promise<RevokedIdentity | undefined> {
  const [row] = await db<RevokedIdentity[]>`
    select kind, id, name, revoked_at from rap.identities where kind = ${kind} and id = ${id} and state = 'revoked'
    union all
    select 'worker', id::text, name, revoked_at from rap.workers
    where ${kind} = 'worker' and id::text = ${id} and state = 'revoked'
    order by revoked_at limit 1`
  return row
}

/**
 * Waits for enrolments of this identity that are under way. An enrolment locks its token first and the identity second, so
 * this comes before the identity is locked. INVARIANT: nobody waits in a circle.
 */
export async function lockOpenJoinTokens(tx: TransactionSql, kind: string, id: string): Promise<void> {
  await tx`
    select 1 from rap.join_tokens where kind = ${kind} and identity_id = ${id} and used_at is null and deleted_at is null
    order by id for update`
}

/** The number of tokens that nobody can enrol with any more. */
export async function deleteOpenJoinTokens(tx: TransactionSql, kind: string, id: string): Promise<number> {
  const rows = await tx`
    update rap.join_tokens set deleted_at = now()
    where kind = ${kind} and identity_id = ${id} and used_at is null and deleted_at is null returning id`
  return rows.length
}

export interface RevokedCertificate {
  readonly serial: string
  readonly kind: 'worker' | 'service'
  readonly identity_id: string
  readonly thumbprint: string
  readonly not_after: Date
  readonly revoked_at: Date
}

export async function findCertificateBySerial(
  db: Db,
  serial: string,
): Promise<(Omit<RevokedCertificate, 'revoked_at'> & { readonly revoked_at: Date | null }) | undefined> {
  const [row] = await db<(Omit<RevokedCertificate, 'revoked_at'> & { revoked_at: Date | null })[]>`
    select serial, kind, identity_id, thumbprint, not_after, revoked_at from rap.issued_certificates
    where serial = ${serial}`
  return row
}

/** Undefined where it was revoked before. */
export async function markCertificateRevoked(
  tx: TransactionSql,
  serial: string,
): Promise<RevokedCertificate | undefined> {
  const [row] = await tx<RevokedCertificate[]>`
    update rap.issued_certificates set revoked_at = now() where serial = ${serial} and revoked_at is null
    returning serial, kind, identity_id, thumbprint, not_after, revoked_at`
  return row
}

/** Takes back what an identity holds, since it may be registered again; the number of certificates that would be valid. */
export async function markCertificatesRevoked(tx: TransactionSql, kind: string, id: string): Promise<number> {
  const rows = await tx`
    update rap.issued_certificates set revoked_at = now()
    where kind = ${kind} and identity_id = ${id} and revoked_at is null and not_after > now() returning serial`
  return rows.length
}

/** True where this certificate was taken back; a renewal with it would bring the thief a new one. */
export async function isCertificateRevoked(db: Db, thumbprint: string): Promise<boolean> {
  const rows = await db`
    select 1 from rap.issued_certificates where thumbprint = ${thumbprint} and revoked_at is not null`
  return rows.length > 0
}

/** True where the worker announced itself last with this certificate: its sessions stand on it. */
export async function announcesWith(db: Db, workerId: string, thumbprint: string): Promise<boolean> {
  const rows = await db`
    select 1 from rap.workers where id = ${workerId} and certificate_thumbprint = ${thumbprint}`
  return rows.length > 0
}
