import { startPlatform, waitFor } from '@rap/testkit'
import postgres from 'postgres'
import t from 'tap'
import { wireBind } from './wire-client.ts'

// Strangers who fail at every listener as fast as they can. The audit counts each of them, in a bounded number of rows.

const platform = await startPlatform({ env: { 'control-plane': { CONTROL_PLANE_REQUESTS_PER_MINUTE: '1000000' } } })
t.teardown(() => platform.stop())
const sql = postgres(platform.databaseUrls.superuser, { max: 2 })
t.teardown(() => sql.end())
const [worker] = platform.workers
const { api, gateway, gatewayUrl } = platform
if (worker === undefined || gateway === undefined || gatewayUrl === undefined) throw new Error('a part is missing')

const EACH = 500
/** Connections of one stranger at once. */
const AT_ONCE = 20
/** A window, and what a machine that is busy takes beyond it, in milliseconds. */
const PATIENCE_MS = 40_000

async function flood(count: number, knock: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, knock))
}

async function counted(actor: string, event: string): Promise<{ rows: number; refusals: number }> {
  const [found] = await sql`
    select count(*)::int as rows, coalesce(sum(1 + coalesce((details ->> 'suppressed_count')::int, 0)), 0)::int as refusals
    from rap.audit_events where event = ${event} and actor_id = ${actor}`
  return found as never
}

const strangerAt = (url: string) => async () => {
  const outcome = await wireBind(platform, { url, token: 'a.b.c', proof: 'd.e.f' })
  if (outcome.bound || outcome.reason !== 'ERR_BIND_REFUSED') throw new Error('a stranger was told something else')
}

const junk = `rap_at_${'A'.repeat(43)}`
const joinToken = `rapjoin.00000000-0000-4000-8000-000000000000.${'A'.repeat(43)}.${'A'.repeat(43)}`
const FLOODS: readonly (readonly [string, string, string, () => Promise<unknown>])[] = [
  ['binds at the gateway', 'gateway', 'data_plane_bind_refused', strangerAt(gatewayUrl)],
  ['binds at the worker', worker.id, 'data_plane_bind_refused', strangerAt(worker.url)],
  ['access tokens', 'anonymous', 'access_token_refused', () => api.send('GET', '/v1/me', { token: junk })],
  [
    'join tokens',
    'anonymous',
    'identity_enrolment_refused',
    () => api.send('POST', '/v1/enroll', { body: { join_token: joinToken, csr: 'x' }, token: null }),
  ],
]

t.test('a flood at every listener is in the audit with its exact number, in a few rows', async t => {
  const startedAt = performance.now()
  for (const [, , , knock] of FLOODS) await flood(EACH, knock)
  for (const [name, actor, event] of FLOODS) {
    await waitFor(async () => (await counted(actor, event)).refusals >= EACH, { what: name, timeoutMs: PATIENCE_MS })
  }
  const windows = Math.ceil((performance.now() - startedAt) / 10_000) + 1
  for (const [name, actor, event] of FLOODS) {
    const { rows, refusals } = await counted(actor, event)
    t.equal(refusals, EACH, name)
    t.ok(rows <= 5 * windows, `${name}: ${rows} rows in ${windows} windows`)
  }
})

t.test('an orderly stop writes what is counted, and a kill loses no more than its window', async t => {
  const before = (await counted('gateway', 'data_plane_bind_refused')).refusals
  await flood(100, strangerAt(gatewayUrl))
  await gateway.stop()
  t.equal((await counted('gateway', 'data_plane_bind_refused')).refusals - before, 100, 'a stop')
  await gateway.restart()
  const { rows, refusals } = await counted('gateway', 'data_plane_bind_refused')
  await flood(100, strangerAt(gatewayUrl))
  // What is being written at the moment of the end may be lost as well; the first rows were written long before.
  await waitFor(async () => (await counted('gateway', 'data_plane_bind_refused')).rows >= rows + 4, { what: 'rows' })
  await gateway.crash()
  const left = (await counted('gateway', 'data_plane_bind_refused')).refusals - refusals
  t.ok(left >= 4 && left <= 100, `${left} of 100 after a kill`)
})

t.test('the chain of the audit holds', async t => {
  const broken = await sql`
    select sequence from (
      select *, lag(a.hash) over (partition by a.chain_id order by a.sequence) as before,
        sha256(a.previous_hash || convert_to(rap.audit_row_text(a), 'UTF8')) as computed
      from rap.audit_events a
    ) events
    where hash <> computed or (before is not null and previous_hash <> before)`
  t.strictSame([...broken], [])
  const [{ count } = { count: 0 }] = await sql`select count(*)::int as count from rap.audit_events`
  t.ok(count > 20)
})
