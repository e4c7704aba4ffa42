import type { Sql, TransactionSql } from '@rap/service-kit'
import type { TimeCursor } from '../http/page.ts'
import type { Role } from './permissions.ts'

type Db = Sql | TransactionSql

export interface OrganizationRow {
  readonly id: string
  readonly name: string
  readonly created_at: Date
  readonly role: Role
  readonly place: string
}

export interface MemberRow {
  readonly user_id: string
  readonly email: string
  readonly display_name: string
  readonly role: Role
  readonly created_at: Date
  readonly place: string
}

export async function insertOrganization(
  db: Db,
  name: string,
): Promise<{ id: string; name: string; created_at: Date }> {
  const [row] = await db<{ id: string; name: string; created_at: Date }[]>`
    insert into rap.organizations (name) values (${name}) returning id, name, created_at`
  if (row === undefined) throw new Error('organization was not made')
  return row
}

export async function updateOrganization(db: Db, id: string, name: string): Promise<void> {
  await db`update rap.organizations set name = ${name} where id = ${id}`
}

/** Locks an organization while its members change; others may still refer to it, as every event of the audit does. */
export async function lockOrganization(tx: TransactionSql, id: string): Promise<void> {
  await tx`select id from rap.organizations where id = ${id} for no key update`
}

export async function listOrganizations(
  db: Db,
  userId: string,
  { after, limit }: { after: TimeCursor | undefined; limit: number },
): Promise<OrganizationRow[]> {
  return await db<OrganizationRow[]>`
    select o.id, o.name, o.created_at, m.role,
      to_char(o.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || o.id as place
    from rap.organizations o join rap.memberships m on m.organization_id = o.id and m.user_id = ${userId}
    ${after === undefined ? db`` : db`where (o.created_at, o.id) > (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by o.created_at, o.id limit ${limit}`
}

export async function findOrganization(
  db: Db,
  id: string,
): Promise<{ id: string; name: string; created_at: Date } | undefined> {
  const [row] = await db<{ id: string; name: string; created_at: Date }[]>`
    select id, name, created_at from rap.organizations where id = ${id}`
  return row
}

export async function listMembers(
  db: Db,
  organizationId: string,
  { after, limit }: { after: TimeCursor | undefined; limit: number },
): Promise<MemberRow[]> {
  return await db<MemberRow[]>`
    select m.user_id, u.email, u.display_name, m.role, m.created_at,
      to_char(m.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || m.user_id as place
    from rap.memberships m join rap.users u on u.id = m.user_id
    where m.organization_id = ${organizationId}
    ${after === undefined ? db`` : db`and (m.created_at, m.user_id) > (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by m.created_at, m.user_id limit ${limit}`
}

export async function findMember(db: Db, organizationId: string, userId: string): Promise<MemberRow | undefined> {
  const [row] = await db<MemberRow[]>`
    select m.user_id, u.email, u.display_name, m.role, m.created_at, '' as place
    from rap.memberships m join rap.users u on u.id = m.user_id
    where m.organization_id = ${organizationId} and m.user_id = ${userId}`
  return row
}

export async function insertMember(db: Db, organizationId: string, userId: string, role: Role): Promise<boolean> {
  const rows = await db`
    insert into rap.memberships (organization_id, user_id, role) values (${organizationId}, ${userId}, ${role})
    on conflict on constraint memberships_pkey do nothing returning user_id`
  return rows.length === 1
}

export async function updateMemberRole(db: Db, organizationId: string, userId: string, role: Role): Promise<void> {
  await db`
    update rap.memberships set role = ${role} where organization_id = ${organizationId} and user_id = ${userId}`
}

export async function deleteMember(db: Db, organizationId: string, userId: string): Promise<void> {
  await db`delete from rap.memberships where organization_id = ${organizationId} and user_id = ${userId}`
}

export async function countOwners(db: Db, organizationId: string): Promise<number> {
  const [row] = await db<{ count: number }[]>`
    select count(*)::int as count from rap.memberships where organization_id = ${organizationId} and role = 'owner'`
  return row?.count ?? 0
}

/** A new account, or undefined when the address has one. */
export async function insertUser(
  db: Db,
  user: { email: string; displayName: string; passwordHash: string; homeOrganizationId: string },
): Promise<string | undefined> {
  const [row] = await db<{ id: string }[]>`
    insert into rap.users (email, display_name, password_hash, home_organization_id)
    values (${user.email}, ${user.displayName}, ${user.passwordHash}, ${user.homeOrganizationId})
    on conflict on constraint users_email_key do nothing returning id`
  return row?.id
}
