import type { Sql, TransactionSql } from '@rap/service-kit'
import type { TimeCursor } from '../http/page.ts'
import type { Role } from '../organizations/permissions.ts'
import type { Labels } from '../workers/labels.ts'
import type { Metadata } from './metadata.ts'

type Db = Sql | TransactionSql

export interface ResourceRow {
  readonly id: string
  readonly organization_id: string
  readonly name: string
  readonly protocol: 'rdp'
  readonly address: string
  readonly secret_ref: string | null
  readonly metadata: Metadata
  readonly labels: Labels
  readonly created_at: Date
  readonly updated_at: Date
}

/** A resource with the caller's role in its organization. */
export interface ResourceForRow extends ResourceRow {
  readonly role: Role
}

function columns(db: Db) {
  return db`r.id, r.organization_id, r.name, r.protocol, r.address, r.secret_ref, r.metadata, r.labels, r.created_at, r.updated_at`
}

/** A resource of one of the user's organizations; one that is elsewhere is not there. */
export async function findResourceFor(
  db: Db,
  userId: string,
  id: string,
  lock: 'none' | 'share' | 'update' = 'none',
): Promise<ResourceForRow | undefined> {
  const locking = lock === 'none' ? db`` : lock === 'share' ? db`for share of r` : db`for no key update of r`
  const [row] = await db<ResourceForRow[]>`
    select ${columns(db)}, m.role
    from rap.resources r
    join rap.memberships m on m.organization_id = r.organization_id and m.user_id = ${userId}
    where r.id = ${id} and r.deleted_at is null ${locking}`
  return row
}

export async function listResources(
  db: Db,
  organizationIds: readonly string[],
  { after, limit }: { after: TimeCursor | undefined; limit: number },
): Promise<(ResourceRow & { place: string })[]> {
  return await db<(ResourceRow & { place: string })[]>`
    select ${columns(db)},
      to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || r.id as place
    from rap.resources r
    where r.organization_id = any(${organizationIds as string[]}) and r.deleted_at is null
    ${after === undefined ? db`` : db`and (r.created_at, r.id) > (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by r.created_at, r.id limit ${limit}`
}

export interface NewResource {
  readonly organizationId: string
  readonly name: string
  readonly protocol: 'rdp'
  readonly address: string
  readonly metadata: Metadata
  readonly labels: Labels
}

export async function insertResource(db: Db, resource: NewResource): Promise<ResourceRow> {
  const [row] = await db<ResourceRow[]>`
    insert into rap.resources as r (organization_id, name, protocol, address, metadata, labels)
    values (${resource.organizationId}, ${resource.name}, ${resource.protocol}, ${resource.address},
      ${db.json(resource.metadata as never)}, ${db.json(resource.labels as never)})
    returning ${columns(db)}`
  if (row === undefined) throw new Error('resource was not made')
  return row
}

export async function updateResource(
  db: Db,
  id: string,
  { name, address, metadata, labels }: Pick<NewResource, 'name' | 'address' | 'metadata' | 'labels'>,
): Promise<ResourceRow> {
  const [row] = await db<ResourceRow[]>`
    update rap.resources r set name = ${name}, address = ${address}, metadata = ${db.json(metadata as never)},
      labels = ${db.json(labels as never)}
    where r.id = ${id} returning ${columns(db)}`
  if (row === undefined) throw new Error('resource is gone')
  return row
}

/** Sets the reference once a secret exists, or takes it away; the database computes it. */
export async function setSecretRef(db: Db, id: string, exists: boolean): Promise<void> {
  await db`
    update rap.resources set secret_ref = case when ${exists}
      then 'rap-secret://org/' || organization_id::text || '/resources/' || id::text || '/rdp-primary' end
    where id = ${id}`
}

export async function markResourceDeleted(db: Db, id: string): Promise<void> {
  await db`update rap.resources set deleted_at = now(), secret_ref = null where id = ${id}`
}
