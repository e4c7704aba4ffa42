import { ProblemError } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { can } from '../organizations/permissions.ts'
import type { ResourceForRow } from '../resources/storage.ts'
import { fingerprintShownTo } from './storage.ts'

const CHANGED = 'ERR_TARGET_IDENTITY_CHANGED'

/** Runs a start or an attach, and writes its refusal for an alarm into the audit, outside of the transaction that it undid. */
export async function auditingAlarm<T>(
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
    if (error instanceof ProblemError && error.code === CHANGED && error.extras.session_id === undefined) {
      await auditCaller(ctx.sql, caller, {
        organization_id: resource.organization_id,
        event: 'session_refused',
        resource_id: resource.id,
        outcome: 'refused',
        code: CHANGED,
        details: { operation },
      })
    }
    throw error
  }
}

/** Adds the fingerprint to a failure over a certificate, for those who may decide about it. */
export async function tellingFingerprint<T>(
  ctx: Context,
  { resource, attachmentId, work }: { resource: ResourceForRow; attachmentId: string; work: () => Promise<T> },
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof ProblemError) || !isAboutIdentity(error.code) || !can(resource.role, 'resources.manage')) {
      throw error
    }
    const fingerprint = await fingerprintShownTo(ctx.sql, resource.id, attachmentId)
    if (fingerprint === undefined) throw error
    const { code, status, title, detail, extras } = error
    throw new ProblemError({
      code,
      status,
      title,
      ...(detail !== undefined && { detail }),
      extras: { ...extras, fingerprint_sha256: fingerprint },
      cause: error,
    })
  }
}

const isAboutIdentity = (code: string): boolean => code === CHANGED || code.startsWith('ERR_TARGET_CERTIFICATE_')
