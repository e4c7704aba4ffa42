import { randomBytes } from 'node:crypto'
import postgres from 'postgres'

/** Who owns what: the control plane its schema `rap`, the resolver its schema `secrets`, and neither anything more. */
const ROLES = [
  { role: 'rap_control_plane', schema: 'rap' },
  { role: 'rap_secret_resolver', schema: 'secrets' },
] as const

export interface DatabaseUrls {
  /** May read everything, for dumps. */
  readonly superuser: string
  readonly controlPlane: string
  readonly secretResolver: string
}

/**
 * Makes the two roles with fresh passwords and gives each its schema in this database.
 *
 * INVARIANT: no role can make a schema, read the other one's tables, or connect as anybody but itself.
 */
export async function prepareDatabase(superuserUrl: string): Promise<DatabaseUrls> {
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} })
  try {
    const urls: string[] = []
    for (const { role, schema } of ROLES) {
      // ALTER ROLE takes no parameters; base64url needs no escaping.
      const password = randomBytes(24).toString('base64url')
      const known = await sql`select 1 from pg_roles where rolname = ${role}`
      if (known.length === 0) await sql`create role ${sql(role)} login`
      await sql.unsafe(`alter role ${role} login password '${password}'`)
      await sql`create schema if not exists ${sql(schema)} authorization ${sql(role)}`
      const url = new URL(superuserUrl)
      url.username = role
      url.password = password
      urls.push(url.href)
    }
    const [controlPlane = '', secretResolver = ''] = urls
    return { superuser: superuserUrl, controlPlane, secretResolver }
  } finally {
    await sql.end()
  }
}
