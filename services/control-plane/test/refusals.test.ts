import { connectPostgres } from '@rap/service-kit'
import t from 'tap'
import { type ChainedEvent, verifyAuditChain } from '../src/audit/chain.ts'
import { countAttempt, LIMITS } from '../src/auth/login-limit.ts'
import { newJkt, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const { refusals } = instance.controlPlane.context
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const auditor = await stand.user({ organizationId, role: 'auditor' })
const platformOwner = await stand.user({ platformRole: 'owner' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()

type Row = Record<string, unknown> & { readonly details: Record<string, unknown> }

/** How many windows of the audit, of ten seconds each, there can have been. */
const windowsSince = (beganAtMs: number) => 1 + Math.ceil((performance.now() - beganAtMs) / 10_000)

/** Rows of one refusal, and how many refusals they stand for. */
async function refused(chain: string | null, code: string) {
  const all = (await stand.audit(chain)) as Row[]
  const rows = all.filter(row => row.code === code)
  return { rows, sum: rows.reduce((total, { details }) => total + 1 + Number(details.suppressed_count ?? 0), 0) }
}

async function start() {
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  return body as { session: { id: string }; attachment: { id: string }; data_plane: { token: string } }
}

async function exported(chain: string): Promise<ChainedEvent[]> {
  const reader = chain === 'platform' ? platformOwner : auditor
  const { text } = await instance.call(reader, 'GET', `/v1/audit-events?organization_id=${chain}`, {
    headers: { accept: 'application/x-ndjson' },
  })
  return text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
}

t.test('600 replays of a token are a few rows with their exact number, and the chain verifies', async t => {
  const { data_plane, session } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  const before = (await stand.audit(organizationId)).length
  const beganAtMs = performance.now()
  for (let round = 0; round < 30; round++) {
    await Promise.all(
      Array.from({ length: 20 }, async () => t.equal((await worker.bind(data_plane.token)).status, 403)),
    )
  }
  await refusals.flush()
  const { rows, sum } = await refused(organizationId, 'ERR_BIND_TOKEN_REPLAYED')
  t.equal(sum, 600)
  const added = (await stand.audit(organizationId)).length - before
  t.ok(added <= 5 * windowsSince(beganAtMs), `${added} rows`)
  t.ok(rows.every(row => row.session_id === session.id && row.user_id === operator.id))
  const events = await exported(organizationId)
  t.match(verifyAuditChain(events), { ok: true, count: events.length })
})

t.test('a worker that floods with junk from every address hides no token that somebody replays', async t => {
  const { data_plane, session } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  const rowsBefore = (await stand.audit(null)).length
  const beganAtMs = performance.now()
  for (let host = 0; host < 500; host++) {
    await worker.bind('junk', { client_address: `198.51.${host >> 8}.${host & 255}` })
  }
  t.equal((await worker.bind(data_plane.token, { client_address: '203.0.113.9' })).status, 403)
  const theft = (await refused(organizationId, 'ERR_BIND_TOKEN_REPLAYED')).rows.filter(
    row => row.session_id === session.id,
  )
  t.match(theft, [{ details: { client_address: '203.0.113.9' } }], 'at once, and by itself')
  await refusals.flush()
  const added = ((await stand.audit(null)) as Row[]).slice(rowsBefore)
  t.ok(added.length <= 17 * 5 * windowsSince(beganAtMs), `${added.length} rows`)
  const [mixed] = added.filter(({ details }) => details.mixed === true)
  t.match(mixed, { event: 'data_plane_bind_refused', code: null, worker_id: null, actor_id: 'several' })
  const sum = added.reduce((total, { details }) => total + 1 + Number(details.suppressed_count ?? 0), 0)
  t.equal(sum, 500)
  const events = await exported('platform')
  t.match(verifyAuditChain(events), { ok: true })
})

t.test('refusals of a time without a writable audit are in it afterwards', async t => {
  const { data_plane } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  const superuser = connectPostgres(stand.superuserUrl, { max: 1, applicationName: 'test' })
  t.teardown(() => superuser.end())
  const before = (await refused(organizationId, 'ERR_BIND_TOKEN_REPLAYED')).sum
  await superuser`alter function rap.append_audit_event(jsonb) rename to away`
  try {
    for (let number = 0; number < 20; number++) t.equal((await worker.bind(data_plane.token)).status, 403)
    await refusals.flush()
  } finally {
    await superuser`alter function rap.away(jsonb) rename to append_audit_event`
  }
  t.equal(refusals.pending, 20)
  await refusals.flush()
  t.equal((await refused(organizationId, 'ERR_BIND_TOKEN_REPLAYED')).sum - before, 20)
  t.equal(refusals.pending, 0)
})

t.test(
  'a refusal whose names the database does not take is in the audit without them, and holds nothing up',
  async t => {
    const event = {
      organization_id: '00000000-0000-4000-8000-000000000000',
      event: 'data_plane_bind_refused',
      actor: { kind: 'worker', id: 'w' },
      worker_id: 'not-a-uuid',
      outcome: 'refused',
      code: 'ERR_NAMES',
    } as const
    for (let number = 0; number < 10; number++) await refusals.report(event, 'holder')
    await refusals.flush()
    t.equal(refusals.pending, 0)
    const { rows, sum } = await refused(null, 'ERR_NAMES')
    t.equal(sum, 10)
    t.match(rows[0], { actor_id: 'several', worker_id: null, details: { names_refused: true } })
  },
)

t.test('log-ins that are refused by the limit are counted, all of them', async t => {
  const address = '198.18.0.1'
  for (let index = 0; index < LIMITS.address; index++) {
    await countAttempt(stand.redis, { email: `spray${index}@example.com`, address })
  }
  const login = (email: string) =>
    instance.controlPlane.publicApp.inject({
      method: 'POST',
      url: '/v1/auth/login',
      remoteAddress: address,
      payload: { email, password: 'not the passphrase' },
    })
  const beganAtMs = performance.now()
  for (let index = 0; index < 100; index++) t.equal((await login(`nobody${index}@example.com`)).statusCode, 429)
  for (let index = 0; index < 30; index++) t.equal((await login(operator.email)).statusCode, 429)
  await refusals.flush()
  const unknown = await refused(null, 'ERR_AUTH_RATE_LIMITED')
  t.equal(unknown.sum, 100)
  t.ok(unknown.rows.length <= 5 * windowsSince(beganAtMs), `${unknown.rows.length} rows`)
  const known = await refused(organizationId, 'ERR_AUTH_RATE_LIMITED')
  t.equal(known.sum, 30)
  t.ok(known.rows.every(row => row.user_id === operator.id))
})

t.test(
  'a peer that calls an internal route of somebody else is in the audit, each peer and route by itself',
  async t => {
    const beganAtMs = performance.now()
    for (let number = 0; number < 50; number++) {
      await instance.internal('service/gateway', 'POST', '/internal/v1/binds', { body: {} })
      await instance.internal('service/secret-resolver', 'GET', `/internal/v1/attachments/${resourceId}`)
      await instance.internal(undefined, 'POST', '/internal/v1/binds', { body: { x: number } })
    }
    await refusals.flush()
    const { rows } = await refused(null, 'ERR_MTLS_IDENTITY')
    const sums = new Map<string, number>()
    for (const { actor_kind, actor_id, details, event } of rows) {
      t.equal(event, 'internal_access_refused')
      const key = `${actor_kind}/${actor_id} ${details.method} ${details.route}`
      sums.set(key, (sums.get(key) ?? 0) + 1 + Number(details.suppressed_count ?? 0))
    }
    t.strictSame(Object.fromEntries(sums), {
      'service/gateway POST /internal/v1/binds': 50,
      'service/secret-resolver GET /internal/v1/attachments/:id': 50,
      'system/unidentified POST /internal/v1/binds': 50,
    })
    t.ok(rows.length <= 3 * 5 * windowsSince(beganAtMs), `${rows.length} rows`)
  },
)

t.test('what is counted when an instance stops is in the audit', async t => {
  const second = await stand.build()
  const { data_plane } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  const before = (await refused(organizationId, 'ERR_BIND_TOKEN_REPLAYED')).sum
  for (let number = 0; number < 40; number++) await worker.bind(data_plane.token, {}, second)
  await second.stop()
  t.equal((await refused(organizationId, 'ERR_BIND_TOKEN_REPLAYED')).sum - before, 40)
})
