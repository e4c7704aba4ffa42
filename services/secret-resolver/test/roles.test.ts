import t from 'tap'
import { startDatabase } from './support/database.ts'
import { seedOrganization } from './support/seed.ts'

const { controlPlane, resolver } = await startDatabase(t)
const DENIED = { code: '42501' }

t.test("the control plane's role reads and writes nothing of the schema secrets", async t => {
  for (const table of [
    'resource_secrets',
    'sealing_keys',
    'lease_token_jtis',
    'master_keys',
    'resolver_instances',
    'rewrap_jobs',
    'schema_migrations',
  ]) {
    await t.rejects(controlPlane`select 1 from secrets.${controlPlane(table)}`, DENIED, table)
    await t.rejects(controlPlane`delete from secrets.${controlPlane(table)}`, DENIED, table)
  }
})

t.test("the resolver's role reads what it needs of the schema rap, and writes none of it", async t => {
  for (const table of ['resources', 'remote_sessions', 'session_attachments', 'workers']) {
    await t.resolves(resolver`select 1 from rap.${resolver(table)} limit 1`, table)
    await t.rejects(resolver`delete from rap.${resolver(table)}`, DENIED, table)
  }
  for (const table of ['users', 'access_tokens', 'refresh_tokens', 'signing_keys', 'audit_events']) {
    await t.rejects(resolver`select 1 from rap.${resolver(table)}`, DENIED, table)
  }
})

t.test("the resolver's role audits events about secrets only", async t => {
  const { organization_id } = await seedOrganization(controlPlane)
  const append = (event: string) =>
    resolver`select rap.append_audit_event(${resolver.json({
      organization_id,
      event,
      actor: { kind: 'system', id: 'test' },
      outcome: 'ok',
    })})`
  for (const event of [
    'resource_secret_rotated',
    'resource_secret_accessed',
    'resource_secret_access_denied',
    'resource_secret_deleted',
    'resource_secret_write_refused',
    'secret_key_activated',
    'secret_key_retired',
  ]) {
    await t.resolves(append(event), event)
  }
  for (const event of ['session_started', 'user_logged_in']) await t.rejects(append(event), DENIED, event)
})
