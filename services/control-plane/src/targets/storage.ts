import type { Sql, TransactionSql } from '@rap/service-kit'
import type { Metadata } from '../resources/metadata.ts'
import type { ShownCertificate } from './certificate.ts'
import type { Pin, PinKind, PinState } from './pins.ts'

type Db = Sql | TransactionSql

/** Newest certificates of a resource that were never accepted, and that were, which are kept beside those that matter. */
const KEPT = { refused: 20, accepted: 8 } as const
/** Newest retired pins of a resource that are kept. */
const KEPT_RETIRED = 16

export interface IdentityRow {
  readonly alarm_fingerprint: string | null
  readonly alarm_code: string | null
  readonly alarm_since: Date | null
  /** Base64 DER. */
  readonly authorities: string[] | null
  readonly authorities_by: string | null
  readonly authorities_at: Date | null
  readonly forgotten_count: number
}

export interface CertificateRow {
  readonly fingerprint_sha256: string
  readonly spki_sha256: string
  readonly subject: string
  readonly issuer: string
  readonly names: string[]
  readonly not_before: Date
  readonly not_after: Date
  /** Base64 DER, the leaf first. */
  readonly chain: string[]
  readonly first_seen_at: Date
  readonly last_seen_at: Date
  readonly times_seen: number
  readonly worker_id: string
  readonly worker_name: string
  readonly accepted_at: Date | null
  readonly refused_code: string | null
}

/** The resource of an attachment as a report needs it. */
export interface ReportedResource {
  readonly id: string
  readonly organization_id: string
  readonly address: string
  readonly metadata: Metadata
}

/** Locks a resource, so that what is decided about its target is decided one by one. */
export async function lockResource(tx: TransactionSql, id: string): Promise<ReportedResource | undefined> {
  const [row] = await tx<ReportedResource[]>`
    select id, organization_id, address, metadata from rap.resources
    where id = ${id} and deleted_at is null for no key update`
  return row
}

/** What is known of a target; a resource that nobody has connected to has no row. */
export async function findIdentity(db: Db, resourceId: string): Promise<IdentityRow | undefined> {
  const [row] = await db<IdentityRow[]>`
    select alarm_fingerprint, alarm_code, alarm_since, authorities, authorities_by, authorities_at, forgotten_count::int
    from rap.target_identities where resource_id = ${resourceId}`
  return row
}

/** Makes the row that the others of a resource hang on. */
export async function ensureIdentity(
  tx: TransactionSql,
  { id, organization_id }: { readonly id: string; readonly organization_id: string },
): Promise<void> {
  await tx`
    insert into rap.target_identities (resource_id, organization_id) values (${id}, ${organization_id})
    on conflict (resource_id) do nothing`
}

export async function listPins(db: Db, resourceId: string): Promise<Pin[]> {
  return await db<Pin[]>`
    select kind, sha256, state, keeps_others, created_at, decided_at, decided_by
    from rap.target_pins where resource_id = ${resourceId} order by decided_at desc, kind, sha256`
}

/** Writes what was decided; `by` is null where nobody decided. */
export async function putPin(
  tx: TransactionSql,
  resourceId: string,
  pin: { kind: PinKind; sha256: string; state: PinState; keepsOthers: boolean; by: string | null },
): Promise<void> {
  const { kind, sha256, state, keepsOthers, by } = pin
  await tx`
    insert into rap.target_pins (resource_id, kind, sha256, state, keeps_others, decided_by)
    values (${resourceId}, ${kind}, ${sha256}, ${state}, ${keepsOthers}, ${by})
    on conflict (resource_id, kind, sha256) do update
      set state = excluded.state, keeps_others = excluded.keeps_others, decided_by = excluded.decided_by,
        decided_at = clock_timestamp()`
}

export async function deletePin(tx: TransactionSql, resourceId: string, kind: PinKind, sha256: string): Promise<void> {
  await tx`delete from rap.target_pins where resource_id = ${resourceId} and kind = ${kind} and sha256 = ${sha256}`
}

/** Forgets the oldest of the retired pins. */
export async function pruneRetired(tx: TransactionSql, resourceId: string): Promise<void> {
  await tx`
    delete from rap.target_pins where resource_id = ${resourceId} and state = 'retired' and (kind, sha256) in (
      select kind, sha256 from rap.target_pins where resource_id = ${resourceId} and state = 'retired'
      order by decided_at desc offset ${KEPT_RETIRED})`
}

/** Newest first. */
export async function listCertificates(db: Db, resourceId: string): Promise<CertificateRow[]> {
  return await db<CertificateRow[]>`
    select ${certificateColumns(db)} from rap.target_certificates c join rap.workers w on w.id = c.worker_id
    where c.resource_id = ${resourceId} order by c.last_seen_at desc, c.fingerprint_sha256`
}

export async function findCertificate(
  db: Db,
  resourceId: string,
  fingerprint: string,
): Promise<CertificateRow | undefined> {
  const [row] = await db<CertificateRow[]>`
    select ${certificateColumns(db)} from rap.target_certificates c join rap.workers w on w.id = c.worker_id
    where c.resource_id = ${resourceId} and c.fingerprint_sha256 = ${fingerprint}`
  return row
}

/** The fingerprint that a target showed to one attachment. */
export async function fingerprintShownTo(
  db: Db,
  resourceId: string,
  attachmentId: string,
): Promise<string | undefined> {
  const [row] = await db<{ fingerprint_sha256: string }[]>`
    select fingerprint_sha256 from rap.target_certificates
    where resource_id = ${resourceId} and attachment_id = ${attachmentId}
    order by last_seen_at desc limit 1`
  return row?.fingerprint_sha256
}

/** Public keys of certificates that were accepted at an address. */
export async function acceptedKeys(tx: TransactionSql, { id, address }: ReportedResource): Promise<string[]> {
  const rows = await tx<{ spki_sha256: string }[]>`
    select distinct spki_sha256 from rap.target_certificates
    where resource_id = ${id} and address = ${address} and accepted_at is not null`
  return rows.map(row => row.spki_sha256)
}

/** One time that a target showed a certificate. */
export interface Sight {
  readonly resource: ReportedResource
  readonly shown: ShownCertificate
  readonly workerId: string
  readonly attachmentId: string
  readonly code: string | undefined
  /** False in mode `insecure`: what it accepts says nothing about who is who. */
  readonly countsAsAccepted: boolean
}

/** Writes a sight down; true where it is the first of this certificate. */
export async function recordSight(tx: TransactionSql, sight: Sight): Promise<boolean> {
  const { resource, shown, workerId, attachmentId, code, countsAsAccepted } = sight
  const [row] = await tx<{ made: boolean }[]>`
    insert into rap.target_certificates as c (resource_id, fingerprint_sha256, spki_sha256, subject, issuer, names, not_before,
      not_after, chain, address, worker_id, attachment_id, accepted_at, refused_code)
    values (${resource.id}, ${shown.fingerprintSha256}, ${shown.spkiSha256}, ${shown.subject}, ${shown.issuer},
      ${shown.names as string[]}, ${shown.notBefore}, ${shown.notAfter}, ${shown.chain as string[]}, ${resource.address},
      ${workerId}, ${attachmentId}, case when ${countsAsAccepted} then now() end, ${code ?? null})
    on conflict (resource_id, fingerprint_sha256) do update
      set chain = excluded.chain, address = excluded.address, worker_id = excluded.worker_id,
        attachment_id = excluded.attachment_id, last_seen_at = now(), times_seen = c.times_seen + 1,
        accepted_at = coalesce(excluded.accepted_at, c.accepted_at), refused_code = excluded.refused_code
    returning c.times_seen = 1 as made`
  return row?.made === true
}

/** Keeps what matters and the newest of the rest: a target that shows endless certificates fills nothing. */
export async function pruneCertificates(tx: TransactionSql, resourceId: string): Promise<void> {
  await tx`
    with ranked as (
      select c.fingerprint_sha256, c.accepted_at is not null as accepted,
        row_number() over (partition by c.accepted_at is not null order by c.last_seen_at desc) as place
      from rap.target_certificates c
      where c.resource_id = ${resourceId}
        and not exists (
          select from rap.target_pins p where p.resource_id = c.resource_id and p.state <> 'retired'
            and p.kind = 'certificate' and p.sha256 = c.fingerprint_sha256)
        and not exists (
          select from rap.target_identities i
          where i.resource_id = c.resource_id and i.alarm_fingerprint = c.fingerprint_sha256)
    ), forgotten as (
      delete from rap.target_certificates c using ranked r
      where c.resource_id = ${resourceId} and c.fingerprint_sha256 = r.fingerprint_sha256
        and r.place > case when r.accepted then ${KEPT.accepted}::int else ${KEPT.refused}::int end
      returning 1
    )
    update rap.target_identities set forgotten_count = forgotten_count + (select count(*) from forgotten)
    where resource_id = ${resourceId} and exists (select from forgotten)`
}

export async function setAlarm(
  tx: TransactionSql,
  resourceId: string,
  alarm: { fingerprint: string; code: string },
): Promise<void> {
  await tx`
    update rap.target_identities
    set alarm_fingerprint = ${alarm.fingerprint}, alarm_code = ${alarm.code}, alarm_since = now()
    where resource_id = ${resourceId}`
}

export async function clearAlarm(tx: TransactionSql, resourceId: string): Promise<void> {
  await tx`
    update rap.target_identities set alarm_fingerprint = null, alarm_code = null, alarm_since = null
    where resource_id = ${resourceId}`
}

/** Enrols an authority, or takes it away with null. */
export async function setAuthorities(
  tx: TransactionSql,
  resourceId: string,
  { authorities, by }: { authorities: readonly string[] | null; by: string },
): Promise<void> {
  await tx`
    update rap.target_identities
    set authorities = ${authorities as string[] | null}, authorities_by = ${by},
      authorities_at = case when ${authorities !== null} then now() end
    where resource_id = ${resourceId}`
}

/** Writes metadata that was checked. */
export async function setMetadata(tx: TransactionSql, resourceId: string, metadata: Metadata): Promise<void> {
  await tx`update rap.resources set metadata = ${tx.json(metadata as never)} where id = ${resourceId}`
}

function certificateColumns(db: Db) {
  return db`c.fingerprint_sha256, c.spki_sha256, c.subject, c.issuer, c.names, c.not_before, c.not_after, c.chain,
    c.first_seen_at, c.last_seen_at, c.times_seen::int, c.worker_id, w.name as worker_name, c.accepted_at, c.refused_code`
}
