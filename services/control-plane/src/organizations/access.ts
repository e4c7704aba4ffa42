import { commonProblems, type Sql, type TransactionSql } from '@rap/service-kit'
import type { Caller } from '../auth/caller.ts'
import { problems } from '../errors.ts'
import { can, type Permission, type Role, rolesWith } from './permissions.ts'

type Db = Sql | TransactionSql

/** The role of a user in an organization, or undefined. */
export async function roleIn(db: Db, userId: string, organizationId: string): Promise<Role | undefined> {
  const [row] = await db<{ role: Role }[]>`
    select role from rap.memberships where user_id = ${userId} and organization_id = ${organizationId}`
  return row?.role
}

/**
 * The caller's role in an organization, with the permission.
 * Throws ERR_NOT_FOUND for an organization that the caller is no member of, as for one that does not exist, and
 * ERR_FORBIDDEN for a member without the permission.
 */
export async function requirePermission(
  db: Db,
  caller: Caller,
  { organizationId, permission }: { organizationId: string; permission: Permission },
): Promise<Role> {
  const role = await roleIn(db, caller.id, organizationId)
  if (role === undefined) throw commonProblems.ERR_NOT_FOUND()
  requireRole(role, permission)
  return role
}

/** Throws ERR_FORBIDDEN when the table does not give the role the permission. */
export function requireRole(role: Role, permission: Permission): void {
  if (!can(role, permission)) throw commonProblems.ERR_FORBIDDEN({ facts: { role, permission } })
}

/** Throws ERR_FORBIDDEN for everybody but the owners of the platform. */
export function requirePlatformOwner(caller: Caller): void {
  if (caller.platform_role !== 'owner') throw commonProblems.ERR_FORBIDDEN({ facts: { permission: 'platform' } })
}

/**
 * The organizations that a list covers: the named one, or all in which the caller has the permission.
 * Throws as `requirePermission` does for a named one, and ERR_FORBIDDEN when there is none at all.
 */
export async function organizationsFor(
  db: Db,
  caller: Caller,
  { organizationId, permission }: { organizationId: string | undefined; permission: Permission },
): Promise<string[]> {
  if (organizationId !== undefined) {
    await requirePermission(db, caller, { organizationId, permission })
    return [organizationId]
  }
  const rows = await db<{ organization_id: string }[]>`
    select organization_id from rap.memberships
    where user_id = ${caller.id} and role = any(${rolesWith(permission)}) limit 1000`
  if (rows.length === 0) throw commonProblems.ERR_FORBIDDEN({ facts: { permission } })
  return rows.map(row => row.organization_id)
}

/**
 * The one organization that a new thing goes to: the named one, or the caller's only one.
 * Throws as `requirePermission` does, and ERR_ORGANIZATION_REQUIRED where there is a choice to make.
 */
export async function organizationFor(
  db: Db,
  caller: Caller,
  { organizationId, permission }: { organizationId: string | undefined; permission: Permission },
): Promise<string> {
  if (organizationId !== undefined) {
    await requirePermission(db, caller, { organizationId, permission })
    return organizationId
  }
  const rows = await db<{ organization_id: string; role: Role }[]>`
    select organization_id, role from rap.memberships where user_id = ${caller.id} limit 2`
  const [only, another] = rows
  if (only === undefined) throw commonProblems.ERR_FORBIDDEN({ facts: { permission } })
  if (another !== undefined) throw problems.ERR_ORGANIZATION_REQUIRED()
  requireRole(only.role, permission)
  return only.organization_id
}
