import type { Sql, TransactionSql } from '@rap/service-kit'
import type { Role } from '../organizations/permissions.ts'
import { ACCESS_TOKEN_SECONDS, FAMILY_SECONDS, newToken, REFRESH_TOKEN_SECONDS } from './opaque-tokens.ts'

type Db = Sql | TransactionSql

export interface UserRow {
  readonly id: string
  readonly email: string
  readonly display_name: string
  readonly password_hash: string
  readonly platform_role: 'owner' | null
  readonly home_organization_id: string | null
}

export interface MembershipRow {
  readonly organization_id: string
  readonly organization_name: string
  readonly role: Role
}

/** A user as a caller of the API, with the log-in the call belongs to. */
export interface CallerRow {
  readonly id: string
  readonly email: string
  readonly display_name: string
  readonly platform_role: 'owner' | null
  readonly home_organization_id: string | null
  readonly family_id: string
  readonly expires_at: Date
}

export type RevokeReason = 'logout' | 'refresh_token_reused' | 'password_changed'

/** E-mail addresses have one spelling: lower case, without white space around. */
export function normalizeEmail(email: string): string {
  return email.trim().toLowerCase()
}

export async function findUserByEmail(db: Db, email: string): Promise<UserRow | undefined> {
  const [row] = await db<UserRow[]>`
    select id, email, display_name, password_hash, platform_role, home_organization_id
    from rap.users where email = ${normalizeEmail(email)}`
  return row
}

export async function findUser(db: Db, id: string): Promise<UserRow | undefined> {
  const [row] = await db<UserRow[]>`
    select id, email, display_name, password_hash, platform_role, home_organization_id from rap.users where id = ${id}`
  return row
}

export async function updatePasswordHash(
  db: Db,
  userId: string,
  { from, to, changed }: { from: string; to: string; changed: boolean },
): Promise<boolean> {
  const rows = await db`
    update rap.users set password_hash = ${to},
      password_changed_at = case when ${changed} then now() else password_changed_at end
    where id = ${userId} and password_hash = ${from} returning id`
  return rows.length === 1
}

export async function membershipsOf(db: Db, userId: string): Promise<MembershipRow[]> {
  return await db<MembershipRow[]>`
    select m.organization_id, o.name as organization_name, m.role
    from rap.memberships m join rap.organizations o on o.id = m.organization_id
    where m.user_id = ${userId} order by o.name, o.id limit 1000`
}

/** The caller behind an access token that is still good. */
export async function findCaller(db: Db, tokenHash: Buffer): Promise<CallerRow | undefined> {
  const [row] = await db<CallerRow[]>`
    select u.id, u.email, u.display_name, u.platform_role, u.home_organization_id, a.family_id, a.expires_at
    from rap.access_tokens a
    join rap.token_families f on f.id = a.family_id
    join rap.users u on u.id = a.user_id
    where a.token_hash = ${tokenHash} and a.expires_at > now() and f.revoked_at is null and f.expires_at > now()`
  return row
}

/** The log-in that a token belongs to, whether it is over or not. */
export interface LogInRow {
  readonly user_id: string
  /** The organization whose audit speaks of the user's log-ins. */
  readonly organization_id: string | null
  /** Null where it was not ended before its time. */
  readonly revoked_reason: RevokeReason | null
}

export async function findLogIn(db: Db, kind: 'access' | 'refresh', tokenHash: Buffer): Promise<LogInRow | undefined> {
  const [row] = await db<LogInRow[]>`
    select f.user_id, f.revoked_reason, coalesce(u.home_organization_id, (
      select m.organization_id from rap.memberships m join rap.organizations o on o.id = m.organization_id
      where m.user_id = u.id order by o.name, o.id limit 1)) as organization_id
    from ${kind === 'access' ? db`rap.access_tokens` : db`rap.refresh_tokens`} t
    join rap.token_families f on f.id = t.family_id
    join rap.users u on u.id = f.user_id
    where t.token_hash = ${tokenHash}`
  return row
}

export async function createFamily(db: Db, userId: string): Promise<string> {
  const [row] = await db<{ id: string }[]>`
    insert into rap.token_families (user_id, expires_at)
    values (${userId}, now() + make_interval(secs => ${FAMILY_SECONDS})) returning id`
  return row?.id ?? ''
}

export interface IssuedTokens {
  readonly accessToken: string
  readonly accessExpiresAt: Date
  readonly refreshToken: string
  readonly refreshExpiresAt: Date
}

/** New tokens of a family; none of them outlives it. */
export async function issueTokens(db: Db, familyId: string): Promise<IssuedTokens> {
  const access = newToken('access')
  const refresh = newToken('refresh')
  const [row] = await db<{ access_expires_at: Date; refresh_expires_at: Date }[]>`
    with family as (select id, user_id, expires_at from rap.token_families where id = ${familyId}),
    access as (
      insert into rap.access_tokens (token_hash, family_id, user_id, expires_at)
      select ${access.hash}, id, user_id, least(now() + make_interval(secs => ${ACCESS_TOKEN_SECONDS}), expires_at)
      from family returning expires_at
    ),
    refresh as (
      insert into rap.refresh_tokens (token_hash, family_id, expires_at)
      select ${refresh.hash}, id, least(now() + make_interval(secs => ${REFRESH_TOKEN_SECONDS}), expires_at)
      from family returning expires_at
    )
    select access.expires_at as access_expires_at, refresh.expires_at as refresh_expires_at from access, refresh`
  if (row === undefined) throw new Error('token family is gone')
  return {
    accessToken: access.token,
    accessExpiresAt: row.access_expires_at,
    refreshToken: refresh.token,
    refreshExpiresAt: row.refresh_expires_at,
  }
}

export interface RefreshRow {
  readonly family_id: string
  readonly user_id: string
  readonly used: boolean
  readonly expired: boolean
  readonly revoked: boolean
}

/** Locks the family of a refresh token, so that two uses of one token are seen one after the other. */
export async function lockRefreshToken(tx: TransactionSql, tokenHash: Buffer): Promise<RefreshRow | undefined> {
  await tx`
    select f.id from rap.token_families f
    where f.id = (select family_id from rap.refresh_tokens where token_hash = ${tokenHash}) for update`
  const [row] = await tx<RefreshRow[]>`
    select r.family_id, f.user_id, r.used_at is not null as used,
      (r.expires_at <= now() or f.expires_at <= now()) as expired, f.revoked_at is not null as revoked
    from rap.refresh_tokens r join rap.token_families f on f.id = r.family_id
    where r.token_hash = ${tokenHash}`
  return row
}

export async function markRefreshTokenUsed(db: Db, tokenHash: Buffer): Promise<void> {
  await db`update rap.refresh_tokens set used_at = now() where token_hash = ${tokenHash}`
}

export async function revokeFamily(db: Db, familyId: string, reason: RevokeReason): Promise<boolean> {
  const rows = await db`
    update rap.token_families set revoked_at = now(), revoked_reason = ${reason}
    where id = ${familyId} and revoked_at is null returning id`
  return rows.length === 1
}

/** Ends every other log-in of a user. */
export async function revokeOtherFamilies(
  db: Db,
  userId: string,
  { keep, reason }: { keep: string; reason: RevokeReason },
): Promise<void> {
  await db`
    update rap.token_families set revoked_at = now(), revoked_reason = ${reason}
    where user_id = ${userId} and id <> ${keep} and revoked_at is null`
}

/** Removes log-ins that ended a day ago; a bounded number at a time. */
export async function deleteExpiredTokens(db: Db, limit: number): Promise<void> {
  await db`
    delete from rap.access_tokens where token_hash in (
      select token_hash from rap.access_tokens where expires_at < now() - interval '1 hour' limit ${limit})`
  await db`
    delete from rap.token_families where id in (
      select id from rap.token_families where expires_at < now() - interval '1 day' limit ${limit})`
}
