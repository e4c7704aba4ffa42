import type { Sql, TransactionSql } from '@rap/service-kit'
import type { PolicyDocument, PolicyLayers, PolicyScope } from '@rap/session-policy'

type Db = Sql | TransactionSql

/** Where a policy is written: for the organization, for a resource of it, or for a member on that resource. */
export interface PolicyPlace {
  readonly organizationId: string
  readonly resourceId?: string | undefined
  readonly userId?: string | undefined
}

export interface PolicyRow {
  /** Null once it was deleted. */
  readonly document: PolicyDocument | null
  readonly version: number
  readonly updated_at: Date
  readonly updated_by: string
}

/** The scope of a place. */
export function scopeOf({ resourceId, userId }: Pick<PolicyPlace, 'resourceId' | 'userId'>): PolicyScope {
  if (userId !== undefined) return 'grant'
  return resourceId === undefined ? 'organization' : 'resource'
}

/**
 * Keeps the policies of an organization as they are until the transaction ends (`shared`, for whoever acts on them), or keeps everybody
 * else from acting on them while they change (`exclusive`).
 * INVARIANT: it is taken after the lock of a resource and before those of sessions.
 */
export async function lockPolicies(
  tx: TransactionSql,
  organizationId: string,
  mode: 'shared' | 'exclusive',
): Promise<void> {
  const name = `rap.policies:${organizationId}`
  if (mode === 'shared') await tx`select pg_advisory_xact_lock_shared(hashtextextended(${name}, 0))`
  else await tx`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`
}

function at(db: Db, { organizationId, resourceId, userId }: PolicyPlace) {
  return db`p.organization_id = ${organizationId} and p.resource_id is not distinct from ${resourceId ?? null}::uuid
    and p.user_id is not distinct from ${userId ?? null}::uuid`
}

/** The policy of one place, a deleted one included. */
export async function findPolicy(db: Db, place: PolicyPlace): Promise<PolicyRow | undefined> {
  const [row] = await db<PolicyRow[]>`
    select p.document, p.version, p.updated_at, p.updated_by from rap.policies p where ${at(db, place)}`
  return row
}

/** Writes the policy of one place; null deletes it. */
export async function putPolicy(
  tx: TransactionSql,
  place: PolicyPlace,
  { document, by }: { document: PolicyDocument | null; by: string },
): Promise<PolicyRow> {
  const { organizationId, resourceId = null, userId = null } = place
  const json = document === null ? null : tx.json(document as never)
  const [row] = await tx<PolicyRow[]>`
    insert into rap.policies as p (organization_id, resource_id, user_id, document, updated_by)
    values (${organizationId}, ${resourceId}, ${userId}, ${json}, ${by})
    on conflict on constraint policies_scope_key
      do update set document = excluded.document, version = p.version + 1, updated_by = excluded.updated_by
    returning p.document, p.version, p.updated_at, p.updated_by`
  if (row === undefined) throw new Error('policy was not written')
  return row
}

/** The policies that bear on the sessions of one user on one resource. */
export async function readLayers(
  db: Db,
  { organizationId, resourceId, userId }: { organizationId: string; resourceId: string; userId: string },
): Promise<PolicyLayers> {
  const rows = await db<LayerRow[]>`
    select p.resource_id, p.user_id, p.document from rap.policies p
    where p.organization_id = ${organizationId} and p.document is not null
      and (p.resource_id is null or p.resource_id = ${resourceId}) and (p.user_id is null or p.user_id = ${userId})`
  return layersOf(rows)
}

export interface LayerRow {
  readonly resource_id: string | null
  readonly user_id: string | null
  readonly document: PolicyDocument
}

/** Rows of at most one place of each scope, by scope. */
export function layersOf(rows: readonly LayerRow[]): PolicyLayers {
  return Object.fromEntries(
    rows.map(row => [
      scopeOf({ resourceId: row.resource_id ?? undefined, userId: row.user_id ?? undefined }),
      row.document,
    ]),
  )
}

/** Everything that is written for the resources of these sessions, and for their organization. */
export async function readAllLayers(
  db: Db,
  organizationId: string,
  resourceIds: readonly string[],
): Promise<readonly LayerRow[]> {
  return await db<LayerRow[]>`
    select p.resource_id, p.user_id, p.document from rap.policies p
    where p.organization_id = ${organizationId} and p.document is not null
      and (p.resource_id is null or p.resource_id = any(${resourceIds as string[]}))`
}

/** Takes away what is written for a resource, its grants included. */
export async function deletePoliciesOfResource(tx: TransactionSql, resourceId: string): Promise<void> {
  await tx`delete from rap.policies where resource_id = ${resourceId}`
}
