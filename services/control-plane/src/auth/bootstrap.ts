import { readFile } from 'node:fs/promises'
import { auditSystem } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { checkNewPassword, hashPassword } from './passwords.ts'
import { normalizeEmail } from './storage.ts'

/** Taken while the first user is made, so that of several instances one does it. */
const BOOTSTRAP_LOCK = 'rap.bootstrap'

/**
 * Makes the first organization and its owner, who also owns the platform, in a database without users.
 * Does nothing later on, so the password file may be removed after the first start. Returns whether it made them.
 */
export async function bootstrap(ctx: Pick<Context, 'config' | 'sql' | 'logger'>): Promise<boolean> {
  const { BOOTSTRAP_ADMIN_EMAIL, BOOTSTRAP_ADMIN_PASSWORD_FILE, BOOTSTRAP_ORGANIZATION_NAME } = ctx.config
  if (BOOTSTRAP_ADMIN_EMAIL === undefined || BOOTSTRAP_ADMIN_PASSWORD_FILE === undefined) return false
  const [existing] = await ctx.sql`select 1 from rap.users limit 1`
  if (existing !== undefined) return false
  const email = normalizeEmail(BOOTSTRAP_ADMIN_EMAIL)
  const password = (await readFile(BOOTSTRAP_ADMIN_PASSWORD_FILE, 'utf8')).replace(/\r?\n$/, '')
  checkNewPassword(password, { email })
  const passwordHash = await hashPassword(password)
  const made = await ctx.sql.begin(async tx => {
    await tx`select pg_advisory_xact_lock(hashtextextended(${BOOTSTRAP_LOCK}, 0))`
    const [user] = await tx`select 1 from rap.users limit 1`
    if (user !== undefined) return undefined
    const [organization] = await tx<{ id: string }[]>`
      insert into rap.organizations (name) values (${BOOTSTRAP_ORGANIZATION_NAME}) returning id`
    if (organization === undefined) throw new Error('organization was not made')
    const [owner] = await tx<{ id: string }[]>`
      insert into rap.users (email, display_name, password_hash, platform_role, home_organization_id)
      values (${email}, ${email}, ${passwordHash}, 'owner', ${organization.id}) returning id`
    if (owner === undefined) throw new Error('user was not made')
    await tx`
      insert into rap.memberships (organization_id, user_id, role) values (${organization.id}, ${owner.id}, 'owner')`
    await auditSystem(tx, { organization_id: organization.id, event: 'organization_bootstrapped', user_id: owner.id })
    return { organization_id: organization.id, user_id: owner.id }
  })
  if (made !== undefined) ctx.logger.info({ event: 'bootstrapped', ...made }, 'first user and organization made')
  return made !== undefined
}
