import type { Sql, Standing, TransactionSql } from '@rap/service-kit'
import { auditCaller, auditStranger, auditUser, eventOfStranger } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import type { Caller, Origin } from './caller.ts'
import { countAttempt, forgiveAttempt, WINDOW_SECONDS } from './login-limit.ts'
import { hashOfToken } from './opaque-tokens.ts'
import { checkNewPassword, hashPassword, needsRehash, verifyPassword } from './passwords.ts'
import { auditRefusedToken } from './refused-tokens.ts'
import {
  createFamily,
  findUser,
  findUserByEmail,
  type IssuedTokens,
  issueTokens,
  lockRefreshToken,
  markRefreshTokenUsed,
  membershipsOf,
  normalizeEmail,
  revokeFamily,
  revokeOtherFamilies,
  type UserRow,
  updatePasswordHash,
} from './storage.ts'

export interface LoggedIn {
  readonly user: UserRow
  readonly tokens: IssuedTokens
}

/**
 * Checks e-mail address and password and starts a log-in.
 *
 * Throws ProblemError ERR_AUTH_INVALID_CREDENTIALS (the same for an unknown account, after the same work) and
 * ERR_AUTH_RATE_LIMITED. Both are in the audit; the typed address is not, since people type passwords there.
 */
export async function login(
  ctx: Context,
  given: { readonly email: string; readonly password: string },
  origin: Origin,
): Promise<LoggedIn> {
  const email = normalizeEmail(given.email)
  const isAllowed = await countAttempt(ctx.redis, { email, address: origin.clientAddress })
  const user = await findUserByEmail(ctx.sql, email)
  const standing = user === undefined ? 'stranger' : 'claimant'
  if (!isAllowed) {
    await auditFailure(ctx, { user, origin, code: 'ERR_AUTH_RATE_LIMITED', standing })
    throw problems.ERR_AUTH_RATE_LIMITED({ extras: { retry_after_seconds: WINDOW_SECONDS } })
  }
  if (!(await verifyPassword(user?.password_hash, given.password)) || user === undefined) {
    await auditFailure(ctx, { user, origin, code: 'ERR_AUTH_INVALID_CREDENTIALS', standing })
    throw problems.ERR_AUTH_INVALID_CREDENTIALS()
  }
  await forgiveAttempt(ctx.redis, { email, address: origin.clientAddress })
  if (needsRehash(user.password_hash)) {
    const to = await hashPassword(given.password)
    await updatePasswordHash(ctx.sql, user.id, { from: user.password_hash, to, changed: false })
  }
  const tokens = await ctx.sql.begin(async tx => {
    const issued = await issueTokens(tx, await createFamily(tx, user.id))
    const organizationId = await chainOf(tx, user)
    await auditUser(tx, { userId: user.id, origin }, { organization_id: organizationId, event: 'user_logged_in' })
    return issued
  })
  return { user, tokens }
}

/** Nobody's id, which is looked up as long as a real one. */
const NOBODY = '00000000-0000-0000-0000-000000000000'

interface Failure {
  readonly user: UserRow | undefined
  readonly origin: Origin
  readonly code: string
  readonly standing: Standing
}

async function auditFailure(ctx: Context, { user, origin, code, standing }: Failure): Promise<void> {
  const [membership] = await membershipsOf(ctx.sql, user?.id ?? NOBODY)
  const event = eventOfStranger(origin, {
    organization_id: user?.home_organization_id ?? membership?.organization_id ?? null,
    event: 'user_login_failed',
    user_id: user?.id,
    outcome: 'refused',
    code,
    details: { account_known: user !== undefined },
  })
  // Not waited for: whether it gets a row or is counted depends on the account, and the time of the answer must not.
  void ctx.refusals.report(event, standing)
}

/** The organization whose audit speaks of a person's log-ins: the one of the account, or else the first membership. */
async function chainOf(
  db: Sql | TransactionSql,
  user: Pick<UserRow, 'id' | 'home_organization_id'>,
): Promise<string | null> {
  if (user.home_organization_id !== null) return user.home_organization_id
  const [first] = await membershipsOf(db, user.id)
  return first?.organization_id ?? null
}

/**
 * Trades a refresh token for new tokens (RFC 9700 §4.14.2).
 *
 * A token that was used before ends its log-in: one of its two holders is a thief, and nobody can tell which.
 * Throws ProblemError ERR_AUTH_REFRESH_INVALID, the same for every reason.
 */
export async function refresh(ctx: Context, token: string, origin: Origin): Promise<LoggedIn> {
  const tokenHash = hashOfToken('refresh', token)
  const result = tokenHash === undefined ? undefined : await renewLogIn(ctx, tokenHash, origin)
  if (result === undefined || result === 'reused') {
    // A reuse has an event of its own, in the transaction that ends the log-in.
    if (result === undefined) await auditRefusedToken(ctx, { kind: 'refresh', tokenHash, origin })
    throw problems.ERR_AUTH_REFRESH_INVALID()
  }
  return result
}

async function renewLogIn(ctx: Context, tokenHash: Buffer, origin: Origin): Promise<LoggedIn | 'reused' | undefined> {
  return await ctx.sql.begin(async tx => {
    const row = await lockRefreshToken(tx, tokenHash)
    if (row === undefined || row.revoked) return undefined
    const user = await findUser(tx, row.user_id)
    if (user === undefined) return undefined
    if (row.used) {
      await revokeFamily(tx, row.family_id, 'refresh_token_reused')
      await auditStranger(tx, origin, {
        organization_id: await chainOf(tx, user),
        event: 'refresh_reuse_detected',
        user_id: user.id,
        outcome: 'refused',
        code: 'ERR_AUTH_REFRESH_INVALID',
      })
      return 'reused'
    }
    if (row.expired) return undefined
    await markRefreshTokenUsed(tx, tokenHash)
    return { user, tokens: await issueTokens(tx, row.family_id) }
  })
}

/** Ends the log-in that a refresh token belongs to; a token that is none, or is over, is no error. */
export async function logoutByRefreshToken(ctx: Context, token: string, origin: Origin): Promise<void> {
  const tokenHash = hashOfToken('refresh', token)
  if (tokenHash === undefined) return
  await ctx.sql.begin(async tx => {
    const row = await lockRefreshToken(tx, tokenHash)
    if (row === undefined) return
    await endFamily(tx, { familyId: row.family_id, userId: row.user_id, origin })
  })
}

/** Ends the log-in of a caller. */
export async function logoutCaller(ctx: Context, caller: Caller): Promise<void> {
  await ctx.sql.begin(async tx => {
    await endFamily(tx, { familyId: caller.family_id, userId: caller.id, origin: caller.origin })
  })
}

async function endFamily(
  tx: TransactionSql,
  { familyId, userId, origin }: { familyId: string; userId: string; origin: Origin },
): Promise<void> {
  if (!(await revokeFamily(tx, familyId, 'logout'))) return
  const user = await findUser(tx, userId)
  if (user === undefined) return
  const organizationId = await chainOf(tx, user)
  await auditUser(tx, { userId, origin }, { organization_id: organizationId, event: 'user_logged_out' })
}

/**
 * Gives a caller another password and ends all other log-ins of the account.
 * Throws ProblemError ERR_AUTH_INVALID_CREDENTIALS, ERR_AUTH_RATE_LIMITED, ERR_AUTH_PASSWORD_UNFIT.
 */
export async function changePassword(
  ctx: Context,
  caller: Caller,
  given: { readonly current: string; readonly next: string },
): Promise<void> {
  const { email, origin } = caller
  checkNewPassword(given.next, { email })
  const isAllowed = await countAttempt(ctx.redis, { email, address: origin.clientAddress })
  const user = await findUser(ctx.sql, caller.id)
  if (!isAllowed) {
    await auditFailure(ctx, { user, origin, code: 'ERR_AUTH_RATE_LIMITED', standing: 'holder' })
    throw problems.ERR_AUTH_RATE_LIMITED({ extras: { retry_after_seconds: WINDOW_SECONDS } })
  }
  if (user === undefined || !(await verifyPassword(user.password_hash, given.current))) {
    await auditFailure(ctx, { user, origin, code: 'ERR_AUTH_INVALID_CREDENTIALS', standing: 'holder' })
    throw problems.ERR_AUTH_INVALID_CREDENTIALS()
  }
  await forgiveAttempt(ctx.redis, { email, address: origin.clientAddress })
  const to = await hashPassword(given.next)
  await ctx.sql.begin(async tx => {
    // Two changes at once: only the one that still sees the old hash counts.
    const changed = await updatePasswordHash(tx, user.id, { from: user.password_hash, to, changed: true })
    if (!changed) throw problems.ERR_AUTH_INVALID_CREDENTIALS()
    await revokeOtherFamilies(tx, user.id, { keep: caller.family_id, reason: 'password_changed' })
    await auditCaller(tx, caller, { organization_id: await chainOf(tx, user), event: 'user_password_changed' })
  })
}
