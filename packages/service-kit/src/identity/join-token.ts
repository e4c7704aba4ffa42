import { IdentityError } from './identity-error.ts'
import type { IdentityStore } from './identity-store.ts'

/** `rapjoin.<id>.<secret>.<sha256 of a trust bundle>`, as the control plane makes them. */
const JOIN_TOKEN = /^rapjoin\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[A-Za-z0-9_-]{43}\.([A-Za-z0-9_-]{43})$/

export interface JoinToken {
  /** The whole token, to be shown to the control plane alone. */
  readonly text: string
  /** Base64url SHA-256 of the trust bundle that its maker saw. */
  readonly bundleSha256: string
}

/** Reads a join token; undefined where no file is named or it is not there. Throws IdentityError JOIN_TOKEN, without repeating what it found. */
export async function readJoinToken(store: IdentityStore, path: string | undefined): Promise<JoinToken | undefined> {
  if (path === undefined) return undefined
  const content = await store.read(path)
  if (content === undefined) return undefined
  const text = content.trim()
  const bundleSha256 = JOIN_TOKEN.exec(text)?.[1]
  if (bundleSha256 === undefined) {
    throw new IdentityError('ERR_IDENTITY_JOIN_TOKEN', `${path} (RAP_JOIN_TOKEN_FILE) holds no join token`, { path })
  }
  return { text, bundleSha256 }
}
