import { commonProblems, type Sql, type TransactionSql } from '@rap/service-kit'
import type { Caller } from '../auth/caller.ts'
import { can, type Permission, type Role } from '../organizations/permissions.ts'
import { findSessionFor, type SessionRow } from './storage.ts'

export type SessionForCaller = SessionRow & { readonly role: Role }

/** What the caller wants with a session. */
export type SessionUse = 'read' | 'attach' | 'end'

/** For each use: what it takes on one's own session, and on somebody else's (undefined: nobody may). */
const RULES: Readonly<Record<SessionUse, { own: Permission; other: Permission | undefined }>> = {
  read: { own: 'resources.read', other: 'sessions.read_any' },
  // The desktop belongs to the person who logged on through it.
  attach: { own: 'sessions.use', other: undefined },
  end: { own: 'sessions.use', other: 'sessions.end_any' },
}

/**
 * A session that the caller may use in this way.
 * Throws ERR_NOT_FOUND for one that the caller cannot see, and ERR_FORBIDDEN for one that can be seen only.
 */
export async function requireSession(
  db: Sql | TransactionSql,
  caller: Caller,
  { id, use }: { id: string; use: SessionUse },
): Promise<SessionForCaller> {
  const session = await findSessionFor(db, caller.id, id)
  if (session === undefined || !mayUse('read', session, caller)) throw commonProblems.ERR_NOT_FOUND()
  if (!mayUse(use, session, caller)) throw commonProblems.ERR_FORBIDDEN({ facts: { role: session.role } })
  return session
}

function mayUse(use: SessionUse, session: SessionForCaller, caller: Caller): boolean {
  const { own, other } = RULES[use]
  const permission = session.user_id === caller.id ? own : other
  return permission !== undefined && can(session.role, permission)
}
