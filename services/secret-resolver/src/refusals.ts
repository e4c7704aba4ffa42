import {
  type AuditEvent,
  appendAuditEvent,
  appendRefusal,
  RefusalAudit,
  type RefusalAuditOptions,
  type Sql,
  type Standing,
} from '@rap/service-kit'

/** Where refusals go that a caller can cause at will. */
export type Refusals = RefusalAudit<AuditEvent>

export function openRefusals(
  sql: Sql,
  {
    logger,
    metrics,
    windowMs,
  }: Pick<RefusalAuditOptions<AuditEvent>, 'logger' | 'metrics'> & { windowMs?: number | undefined },
): Refusals {
  const append = (event: AuditEvent) => appendRefusal(sql, event)
  return new RefusalAudit({ append, logger, metrics, ...(windowMs !== undefined && { windowMs }) })
}

/**
 * Writes what concerns a live lease or a secret that somebody writes by itself, and counts the rest. INVARIANT: no flood
 * takes the row from a denial about a live lease; the limit of a session bounds those.
 */
export async function auditRefusal(
  event: AuditEvent,
  { sql, refusals }: { readonly sql: Sql; readonly refusals: Refusals },
): Promise<void> {
  if (isSingle(event)) await appendAuditEvent(sql, event)
  else await refusals.report(event, standingOf(event))
}

function isSingle({ event, details, actor }: AuditEvent): boolean {
  return actor.kind === 'user' || (event === 'resource_secret_access_denied' && details?.lease_id !== undefined)
}

/** A lease token of ours names a session; a certificate of the platform alone is less than that. */
function standingOf({ session_id, actor }: AuditEvent): Standing {
  if (session_id !== undefined) return 'holder'
  return actor.kind === 'system' ? 'stranger' : 'claimant'
}
