import { commonProblems, type TransactionSql } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import { checkNewPassword, hashPassword } from '../auth/passwords.ts'
import { findUserByEmail, normalizeEmail } from '../auth/storage.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { endSessionsOf } from '../sessions/end-sessions.ts'
import { requirePermission, requireRole } from './access.ts'
import { can, type Role } from './permissions.ts'
import {
  countOwners,
  deleteMember,
  findMember,
  insertMember,
  insertUser,
  lockOrganization,
  type MemberRow,
  updateMemberRole,
} from './storage.ts'

export interface NewMember {
  readonly email: string
  readonly role: Role
  readonly displayName?: string | undefined
  /** The first password of an account that is made here; not used for one that exists. */
  readonly password?: string | undefined
}

/**
 * Adds a person to an organization, and makes the account when the address has none.
 *
 * An account belongs to the organization that made it; another one can be given it by the owner of the platform only.
 * Without that rule, somebody could prepare an account for a stranger's address and wait until it is invited elsewhere.
 * Throws ProblemError ERR_MEMBER_EXISTS, ERR_MEMBER_ACCOUNT_ELSEWHERE, ERR_MEMBER_PASSWORD_REQUIRED.
 */
export async function addMember(
  ctx: Context,
  caller: Caller,
  organizationId: string,
  given: NewMember,
): Promise<{ member: MemberRow; accountMade: boolean }> {
  const own = await requirePermission(ctx.sql, caller, { organizationId, permission: 'members.manage' })
  if (given.role === 'owner') requireRole(own, 'members.manage_owners')
  const email = normalizeEmail(given.email)
  const existing = await findUserByEmail(ctx.sql, email)
  let passwordHash: string | undefined
  if (existing === undefined) {
    if (given.password === undefined) throw problems.ERR_MEMBER_PASSWORD_REQUIRED()
    checkNewPassword(given.password, { email })
    passwordHash = await hashPassword(given.password)
  } else if (existing.home_organization_id !== organizationId && caller.platform_role !== 'owner') {
    throw problems.ERR_MEMBER_ACCOUNT_ELSEWHERE()
  }
  return await ctx.sql.begin(async tx => {
    const userId =
      existing?.id ??
      (await insertUser(tx, {
        email,
        displayName: given.displayName ?? email,
        passwordHash: passwordHash ?? '',
        homeOrganizationId: organizationId,
      }))
    // Somebody made the account in between: the caller looks again.
    if (userId === undefined) throw commonProblems.ERR_CONFLICT()
    if (!(await insertMember(tx, organizationId, userId, given.role))) throw problems.ERR_MEMBER_EXISTS()
    const member = await findMember(tx, organizationId, userId)
    if (member === undefined) throw commonProblems.ERR_CONFLICT()
    await auditCaller(tx, caller, {
      organization_id: organizationId,
      event: 'member_added',
      user_id: userId,
      details: { role: given.role, account_made: existing === undefined },
    })
    return { member, accountMade: existing === undefined }
  })
}

/** Gives a member another role. Throws ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_MEMBER_LAST_OWNER. */
export async function changeRole(
  ctx: Context,
  caller: Caller,
  { organizationId, userId, role }: { organizationId: string; userId: string; role: Role },
): Promise<MemberRow> {
  const ended = await ctx.sql.begin(async tx => {
    const member = await lockedMember(tx, caller, { organizationId, userId, touchesOwner: role === 'owner' })
    if (member.role === 'owner' && role !== 'owner') await keepAnOwner(tx, organizationId)
    await updateMemberRole(tx, organizationId, userId, role)
    // Somebody who may not use sessions any more does not stay in one.
    const sessions = can(role, 'sessions.use') ? undefined : await endSessionsOf(tx, { organizationId, userId })
    await auditCaller(tx, caller, {
      organization_id: organizationId,
      event: 'member_role_changed',
      user_id: userId,
      details: { role, previous_role: member.role },
    })
    return { member: { ...member, role }, sessions }
  })
  await ended.sessions?.tellWorkers(ctx)
  return ended.member
}

/** Takes a person out of an organization and ends their sessions there. Throws as `changeRole` does. */
export async function removeMember(
  ctx: Context,
  caller: Caller,
  { organizationId, userId }: { organizationId: string; userId: string },
): Promise<void> {
  const sessions = await ctx.sql.begin(async tx => {
    const member = await lockedMember(tx, caller, { organizationId, userId, touchesOwner: false })
    if (member.role === 'owner') await keepAnOwner(tx, organizationId)
    await deleteMember(tx, organizationId, userId)
    const ended = await endSessionsOf(tx, { organizationId, userId })
    await auditCaller(tx, caller, {
      organization_id: organizationId,
      event: 'member_removed',
      user_id: userId,
      details: { previous_role: member.role },
    })
    return ended
  })
  await sessions.tellWorkers(ctx)
}

/** The member, with the organization locked and the caller's right to change this member checked inside the lock. */
async function lockedMember(
  tx: TransactionSql,
  caller: Caller,
  { organizationId, userId, touchesOwner }: { organizationId: string; userId: string; touchesOwner: boolean },
): Promise<MemberRow> {
  await lockOrganization(tx, organizationId)
  const own = await requirePermission(tx, caller, { organizationId, permission: 'members.manage' })
  const member = await findMember(tx, organizationId, userId)
  if (member === undefined) throw commonProblems.ERR_NOT_FOUND()
  if (member.role === 'owner' || touchesOwner) requireRole(own, 'members.manage_owners')
  return member
}

async function keepAnOwner(tx: TransactionSql, organizationId: string): Promise<void> {
  if ((await countOwners(tx, organizationId)) < 2) throw problems.ERR_MEMBER_LAST_OWNER()
}
