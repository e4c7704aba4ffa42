import { commonProblems, type Sql, type TransactionSql } from '@rap/service-kit'
import type { Caller } from '../auth/caller.ts'
import { requireRole } from '../organizations/access.ts'
import type { Permission } from '../organizations/permissions.ts'
import { findResourceFor, type ResourceForRow } from './storage.ts'

/** A resource that the caller may use in this way; throws ERR_NOT_FOUND or ERR_FORBIDDEN. */
export async function requireResource(
  db: Sql | TransactionSql,
  caller: Caller,
  { id, permission, lock }: { id: string; permission: Permission; lock?: 'none' | 'share' | 'update' },
): Promise<ResourceForRow> {
  const resource = await findResourceFor(db, caller.id, id, lock)
  if (resource === undefined) throw commonProblems.ERR_NOT_FOUND()
  requireRole(resource.role, permission)
  return resource
}
