import { ProblemError } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import type { ResourceForRow } from '../resources/storage.ts'

/** Refusals of a session that somebody has to be able to find: an alarm of the target, and a policy that leaves nothing. */
const AUDITED = new Set(['ERR_TARGET_IDENTITY_CHANGED', 'ERR_SESSION_POLICY_DENIED'])

/** Runs a start or an attach, and writes its refusal into the audit, outside of the transaction that it undid. */
export async function auditingRefusedSession<T>(
  ctx: Context,
  caller: Caller,
  {
    resource,
    operation,
    work,
  }: {
    resource: ResourceForRow
    operation: 'session_start' | 'session_attach'
    work: () => Promise<T>
  },
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    // A session that got as far as its worker has audited its failure.
    if (error instanceof ProblemError && AUDITED.has(error.code) && error.extras.session_id === undefined) {
      await auditCaller(ctx.sql, caller, {
        organization_id: resource.organization_id,
        event: 'session_refused',
        resource_id: resource.id,
        outcome: 'refused',
        code: error.code,
        details: { operation },
      })
    }
    throw error
  }
}
