import { type PostgresServer, startPostgres } from '@rap/testkit'
import t from 'tap'
import { appendAuditEvent, connectPostgres, Secret } from '../src/index.ts'

let server: PostgresServer
t.before(async () => {
  server = await startPostgres()
})
t.teardown(() => server?.stop())

t.test('a pool names itself, keeps column names and ends statements that take too long', async t => {
  const sql = connectPostgres(Secret.from(server.url), { applicationName: 'rap-test', max: 1, statementTimeoutMs: 200 })
  t.teardown(() => sql.end())
  t.same(await sql`select current_setting('application_name') as application_name`, [{ application_name: 'rap-test' }])
  await t.rejects(sql`select pg_sleep(5)`, { code: '57014' })
  t.same(await sql`select 1 as one`, [{ one: 1 }], 'the pool goes on')
})

t.test('a pool recovers when the server breaks its connections, and can be ended after it', async t => {
  const admin = connectPostgres(server.url, { applicationName: 'rap-admin', max: 1 })
  t.teardown(() => admin.end())
  // Whether the break is noticed before the next query is a matter of luck, so several pools try theirs.
  const pools = Array.from({ length: 8 }, () => connectPostgres(server.url, { applicationName: 'rap-test', max: 2 }))
  await Promise.all(pools.map(sql => sql`select 1`))
  await admin`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rap-test'`
  for (const sql of pools) {
    await sql`select 1`.catch(() => {})
    t.same(await sql`select 1 as one`, [{ one: 1 }])
  }
  await Promise.all(pools.map(sql => sql.end()))
})

t.test('a pool to a server that is away does not fail before it is used', async t => {
  const sql = connectPostgres('postgres://rap:hunter2@127.0.0.1:1/rap', { applicationName: 'rap-test' })
  t.teardown(() => sql.end({ timeout: 0 }))
  const error = await sql`select 1`.catch((error: unknown) => error)
  t.match(error, { code: 'ECONNREFUSED' })
  t.notMatch(String((error as Error).stack), /hunter2/)
})

t.test('a certificate is verified when a trust bundle is given, so a server without TLS is refused', async t => {
  const sql = connectPostgres(server.url, { applicationName: 'rap-test', ca: 'no authority', max: 1 })
  t.teardown(() => sql.end({ timeout: 0 }))
  await t.rejects(sql`select 1`)
})

t.test(
  'an audit event reaches the function of the database as one JSON object, inside the caller’s transaction',
  async t => {
    const sql = connectPostgres(server.url, { applicationName: 'rap-test', max: 1 })
    t.teardown(() => sql.end())
    await sql.unsafe(`
    create schema rap;
    create table rap.seen (event jsonb);
    create function rap.append_audit_event(event jsonb) returns void language sql as 'insert into rap.seen values ($1)';
  `)
    const event = {
      organization_id: null,
      event: 'data_plane_bind_refused',
      actor: { kind: 'service', id: 'gateway' },
      outcome: 'refused',
      code: 'ERR_BIND_TOKEN_EXPIRED',
      details: { note: "quote ' and \\ backslash", attempts: 2 },
    } as const
    await appendAuditEvent(sql, event)
    t.same(await sql`select event, jsonb_typeof(event) as type from rap.seen`, [{ event, type: 'object' }])
    await sql
      .begin(async transaction => {
        await appendAuditEvent(transaction, event)
        throw new Error('the change fails')
      })
      .catch(() => {})
    t.same(await sql`select count(*)::int as count from rap.seen`, [{ count: 1 }])
  },
)
