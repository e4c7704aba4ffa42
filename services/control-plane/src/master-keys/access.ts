import { ProblemError } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { requirePlatformOwner } from '../organizations/access.ts'

/** What changes master keys, as the audit names it. */
export type KeyAction = 'rotate' | 'retire' | 'rewrap'

/**
 * Lets the owners of the platform change master keys. Throws ERR_FORBIDDEN for everybody else, which is audited: nobody
 * comes upon these by accident.
 */
export async function requireKeyOwner(ctx: Context, caller: Caller, action: KeyAction): Promise<void> {
  try {
    requirePlatformOwner(caller)
  } catch (error) {
    await auditCaller(ctx.sql, caller, {
      organization_id: null,
      event: 'secret_key_change_refused',
      outcome: 'refused',
      code: error instanceof ProblemError ? error.code : undefined,
      details: { action },
    })
    throw error
  }
}
