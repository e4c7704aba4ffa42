import { ProblemError } from '@rap/service-kit'
import type { Context } from '../context.ts'
import { can } from '../organizations/permissions.ts'
import type { ResourceForRow } from '../resources/storage.ts'
import { fingerprintShownTo } from './storage.ts'

const CHANGED = 'ERR_TARGET_IDENTITY_CHANGED'

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
