import { openFileIdentity } from './file-identity.ts'
import type { PlatformIdentity, PlatformIdentityOptions } from './platform-identity.ts'

/**
 * The identity of this service: from the files that somebody else writes. Throws IdentityError where there is none that
 * could be used.
 */
export async function openPlatformIdentity(options: PlatformIdentityOptions): Promise<PlatformIdentity> {
  return await openFileIdentity(options)
}
