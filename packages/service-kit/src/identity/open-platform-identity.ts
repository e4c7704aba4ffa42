import { openFileIdentity } from './file-identity.ts'
import { openManagedIdentity } from './managed-identity.ts'
import type { PlatformIdentity, PlatformIdentityOptions } from './platform-identity.ts'

/**
 * The identity of this service: enrolled and renewed in RAP_IDENTITY_DIR, or from the files that somebody else writes.
 * Throws IdentityError where there is none that could be used, and none to be had.
 */
export async function openPlatformIdentity(options: PlatformIdentityOptions): Promise<PlatformIdentity> {
  return options.config.RAP_IDENTITY_DIR === undefined
    ? await openFileIdentity(options)
    : await openManagedIdentity(options)
}
