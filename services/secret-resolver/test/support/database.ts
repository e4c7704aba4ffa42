import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { connectPostgres, createLogger, type Logger, migrate, type Sql } from '@rap/service-kit'
import { type PostgresServer, startPostgres } from '@rap/testkit'
import type { Test } from 'tap'

const SERVICES = join(import.meta.dirname, '../../..')
export const MIGRATIONS = join(import.meta.dirname, '../../migrations')

export const silent: Logger = createLogger({ service: 'test', level: 'silent' })

/** One database with both schemas, each made by its own role with the service's own migrations. */
export interface TestDatabase {
  readonly server: PostgresServer
  /** URLs of the superuser and of the two roles. */
  readonly urls: { readonly superuser: string; readonly controlPlane: string; readonly resolver: string }
  /** Pools of the superuser, for edits by hand, and of the two roles. */
  readonly superuser: Sql
  readonly controlPlane: Sql
  readonly resolver: Sql
}

export interface DatabaseOptions {
  /** Leave the control plane's schema and its grants out. */
  readonly withoutControlPlane?: boolean
  /** Leave the migrations of this service out. */
  readonly withoutOwn?: boolean
}

export async function startDatabase(t: Test, options: DatabaseOptions = {}): Promise<TestDatabase> {
  const server = await startPostgres()
  t.teardown(() => server.stop())
  const superuserUrl = await server.createDatabase('rap')
  const superuser = pool(t, superuserUrl)
  // Roles belong to the whole server, so a shared one may have them from an earlier run.
  const passwords = { rap_control_plane: secret(), rap_secret_resolver: secret() }
  const [{ name: database } = { name: '' }] = await superuser<{ name: string }[]>`select current_database() as name`
  for (const [role, password] of Object.entries(passwords)) {
    const [found] = await superuser`select 1 from pg_roles where rolname = ${role}`
    if (found === undefined) await superuser.unsafe(`create role ${role} login`)
    await superuser.unsafe(`alter role ${role} login password '${password}'`)
    await superuser.unsafe(`grant create on database "${database}" to ${role}`)
  }
  const urls = {
    superuser: superuserUrl,
    controlPlane: as(superuserUrl, 'rap_control_plane', passwords.rap_control_plane),
    resolver: as(superuserUrl, 'rap_secret_resolver', passwords.rap_secret_resolver),
  }
  if (options.withoutControlPlane !== true) await migrateControlPlane(urls.controlPlane)
  if (options.withoutOwn !== true) await migrateResolver(urls.resolver)
  return { server, urls, superuser, controlPlane: pool(t, urls.controlPlane), resolver: pool(t, urls.resolver) }
}

/** The control plane's SQL files as they are, run by its role; the grants are what its start does after them. */
export async function migrateControlPlane(url: string): Promise<void> {
  const directory = join(SERVICES, 'control-plane/migrations')
  await migrate({ url, directory, schemaTable: 'rap.schema_migrations', logger: silent })
  const sql = connectPostgres(url, { max: 1, applicationName: 'test-grants' })
  try {
    await sql`select rap.grant_secret_resolver()`
  } finally {
    await sql.end()
  }
}

export async function migrateResolver(url: string): Promise<void> {
  await migrate({ url, directory: MIGRATIONS, schemaTable: 'secrets.schema_migrations', logger: silent })
}

function pool(t: Test, url: string): Sql {
  const sql = connectPostgres(url, { max: 10, applicationName: 'test' })
  t.teardown(() => sql.end({ timeout: 1 }))
  return sql
}

function secret(): string {
  return randomBytes(18).toString('base64url')
}

function as(url: string, role: string, password: string): string {
  const changed = new URL(url)
  changed.username = role
  changed.password = password
  return changed.href
}
