import { problems } from '../errors.ts'

/** Reads the cursor of the list of identities; throws ProblemError ERR_LIST_CURSOR_INVALID. */
export function readIdentityCursor(cursor: string | undefined): { kind: string; id: string } | undefined {
  if (cursor === undefined) return undefined
  const [, kind, id] =
    /^(worker|service)\/([A-Za-z0-9._-]{1,128})$/.exec(Buffer.from(cursor, 'base64url').toString('utf8')) ?? []
  if (kind === undefined || id === undefined) throw problems.ERR_LIST_CURSOR_INVALID()
  return { kind, id }
}
