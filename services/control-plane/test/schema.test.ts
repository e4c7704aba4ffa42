import { randomUUID } from 'node:crypto'
import { connectPostgres } from '@rap/service-kit'
import { DEFAULT_LIMITS } from '@rap/session-policy'
import t from 'tap'
import { prepareDatabase } from '../src/database.ts'
import { ATTACHMENT_TRANSITIONS, SESSION_TRANSITIONS } from '../src/sessions/states.ts'
import { startStand } from './helper.ts'

const stand = await startStand(t)
const { sql } = stand
const organizationId = await stand.organization()
const foreignId = await stand.organization()
const user = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)

/** The constraint that a statement breaks. */
async function broken(statement: PromiseLike<unknown>): Promise<string> {
  try {
    await statement
    return 'nothing'
  } catch (error) {
    return (error as { constraint_name?: string }).constraint_name ?? String(error)
  }
}

async function session(): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    insert into rap.remote_sessions (organization_id, resource_id, user_id)
    values (${organizationId}, ${resourceId}, ${user.id}) returning id`
  return row!.id
}

const workerId = randomUUID()
await sql`
  insert into rap.workers (id, name, public_url, certificate_thumbprint)
  values (${workerId}, 'w', 'wss://w.example/data-plane/v1', ${'A'.repeat(43)})`

async function attachment(sessionId: string, ordinal = 1, organization = organizationId): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    insert into rap.session_attachments (organization_id, session_id, ordinal, worker_id, lease_id, dpop_jkt, allowed_channels, limits)
    values (${organization}, ${sessionId}, ${ordinal}, ${workerId}, ${randomUUID()}, ${'A'.repeat(43)}, '{display}',
      ${sql.json(DEFAULT_LIMITS)})
    returning id`
  return row!.id
}

t.test('migrations run once, and several instances may run them at once', async t => {
  const fresh = await stand.freshDatabase()
  await Promise.all([1, 2, 3].map(() => prepareDatabase(fresh.sql, fresh.logger())))
  const rows = await fresh.sql`select version from rap.schema_migrations where version > 0 order by version`
  t.same(
    rows.map(row => Number(row.version)),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  )
})

t.test('the state machines of the database and of the code are the same', async t => {
  const rows = await sql<{ machine: string; from_state: string; to_state: string }[]>`
    select machine, from_state, to_state from rap.state_transitions`
  const ofCode = [
    ...Object.entries(SESSION_TRANSITIONS).flatMap(([from, to]) => to.map(one => `session ${from} ${one}`)),
    ...Object.entries(ATTACHMENT_TRANSITIONS).flatMap(([from, to]) => to.map(one => `attachment ${from} ${one}`)),
  ]
  t.same(rows.map(row => `${row.machine} ${row.from_state} ${row.to_state}`).sort(), ofCode.sort())
})

t.test('a state that does not follow is refused by the database', async t => {
  const id = await session()
  t.equal(
    await broken(sql`update rap.remote_sessions set state = 'active' where id = ${id}`),
    'remote_sessions_state_transition',
  )
  t.equal(
    await broken(sql`update rap.remote_sessions set state = 'terminated' where id = ${id}`),
    'remote_sessions_ended_with_time',
  )
  await sql`update rap.remote_sessions set state = 'terminated', ended_at = now() where id = ${id}`
  t.equal(
    await broken(sql`update rap.remote_sessions set state = 'assigning', ended_at = null where id = ${id}`),
    'remote_sessions_state_transition',
  )
  t.equal(
    await broken(sql`insert into rap.remote_sessions (organization_id, resource_id, user_id, state)
      values (${organizationId}, ${resourceId}, ${user.id}, 'active')`),
    'remote_sessions_first_state',
  )
  const attached = await attachment(await session())
  t.equal(
    await broken(sql`update rap.session_attachments set state = 'active' where id = ${attached}`),
    'session_attachments_state_transition',
  )
})

t.test('a session has one live attachment', async t => {
  const id = await session()
  await attachment(id)
  t.equal(await broken(attachment(id, 2)), 'session_attachments_one_live')
})

t.test('rows of two organizations cannot be mixed', async t => {
  t.equal(
    await broken(sql`insert into rap.remote_sessions (organization_id, resource_id, user_id)
      values (${foreignId}, ${resourceId}, ${user.id})`),
    'remote_sessions_resource_fkey',
  )
  t.equal(await broken(attachment(await session(), 1, foreignId)), 'session_attachments_session_fkey')
  t.equal(
    await broken(sql`update rap.resources set secret_ref =
      ${`rap-secret://org/${foreignId}/resources/${resourceId}/rdp-primary`} where id = ${resourceId}`),
    'resources_secret_ref_own',
  )
})

t.test('a policy has one place, of its own organization, and a grant one of its members', async t => {
  const put = (organization: string, resource: string | null, member: string | null, document: unknown = {}) => sql`
    insert into rap.policies (organization_id, resource_id, user_id, document, updated_by)
    values (${organization}, ${resource}, ${member}, ${sql.json(document as never)}, ${user.id})`
  await put(organizationId, null, null)
  t.equal(await broken(put(organizationId, null, null)), 'policies_scope_key')
  await put(organizationId, resourceId, user.id)
  t.equal(await broken(put(organizationId, resourceId, user.id)), 'policies_scope_key')
  t.equal(await broken(put(organizationId, null, user.id)), 'policies_scope_known')
  t.equal(await broken(put(foreignId, resourceId, null)), 'policies_resource_fkey')
  const stranger = await stand.user({ organizationId: foreignId, role: 'owner' })
  t.equal(await broken(put(organizationId, resourceId, stranger.id)), 'policies_member_fkey')
  t.equal(await broken(put(foreignId, null, null, [])), 'policies_document_bound')
  t.equal(await broken(put(foreignId, null, null, { x: 'x'.repeat(8192) })), 'policies_document_bound')
})

t.test('an attachment has limits, and no channel was bound that is not allowed', async t => {
  const id = await attachment(await session())
  const set = (change: object) => sql`update rap.session_attachments set ${sql(change)} where id = ${id}`
  t.match(await broken(set({ limits: null })), /limits/)
  t.equal(await broken(set({ bound_channels: ['input'] })), 'session_attachments_bound_within_allowed')
  await set({ bound_channels: ['display'] })
  t.equal(await broken(set({ allowed_channels: [] })), 'session_attachments_bound_within_allowed')
})

t.test('columns that say what a row is keep their value', async t => {
  const id = await session()
  t.equal(
    await broken(sql`update rap.resources set organization_id = ${foreignId} where id = ${resourceId}`),
    'resources_keep_columns',
  )
  t.equal(
    await broken(sql`update rap.remote_sessions set user_id = ${randomUUID()} where id = ${id}`),
    'remote_sessions_keep_columns',
  )
  const attached = await attachment(id)
  t.equal(
    await broken(sql`update rap.session_attachments set dpop_jkt = ${'B'.repeat(43)} where id = ${attached}`),
    'session_attachments_keep_columns',
  )
  t.equal(
    await broken(sql`update rap.users set home_organization_id = ${foreignId} where id = ${user.id}`),
    'users_keep_columns',
  )
})

t.test('a revoked worker stays revoked', async t => {
  const id = randomUUID()
  await sql`
    insert into rap.workers (id, name, public_url, certificate_thumbprint)
    values (${id}, 'w', 'wss://w.example/data-plane/v1', ${'A'.repeat(43)})`
  await sql`update rap.workers set state = 'revoked', revoked_at = now() where id = ${id}`
  t.equal(
    await broken(sql`update rap.workers set state = 'active', revoked_at = null where id = ${id}`),
    'workers_keep_revoked',
  )
})

t.test('a private key cannot be put where the public one is', async t => {
  t.equal(
    await broken(sql`insert into rap.signing_keys (kid, state, public_jwk, wrapped_private_key)
      values (${'A'.repeat(43)}, 'next', '{"kty":"RSA","d":"secret"}', '{}')`),
    'signing_keys_public_only',
  )
})

t.test('the role of the resolver reads what it decides on, appends about secrets, and nothing else', async t => {
  const resolver = connectPostgres(stand.resolverUrl, { max: 2, applicationName: 'test' })
  t.teardown(() => resolver.end({ timeout: 5 }))
  for (const table of ['resources', 'remote_sessions', 'session_attachments', 'workers']) {
    await resolver.unsafe(`select * from rap.${table} limit 1`)
  }
  const denied = async (statement: PromiseLike<unknown>) => {
    try {
      await statement
      return undefined
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  for (const table of ['users', 'access_tokens', 'refresh_tokens', 'signing_keys', 'audit_events', 'memberships']) {
    t.equal(await denied(resolver.unsafe(`select * from rap.${table}`)), '42501', table)
  }
  t.equal(await denied(resolver`update rap.resources set address = 'evil:3389'`), '42501')
  t.equal(await denied(resolver`insert into rap.audit_events default values`), '42501')
  const event = (name: string) =>
    resolver`select rap.append_audit_event(${resolver.json({
      organization_id: organizationId,
      event: name,
      actor: { kind: 'worker', id: workerId },
      outcome: 'ok',
      details: {},
    })})`
  await event('resource_secret_accessed')
  t.equal(await denied(event('session_started')), '42501', 'it cannot write another part of the audit')
  t.match((await stand.audit(organizationId)).at(-1), { event: 'resource_secret_accessed' })
})
