import { randomUUID } from 'node:crypto'
import { waitFor } from '@rap/testkit'
import { keyLookupOf, verifyToken } from '@rap/token-claims'
import t from 'tap'
import { GATEWAY_URL, newJkt, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId, { labels: { site: 'north' } })
const worker = (await instance.worker({ labels: { site: 'north' } })).start()

async function start(options: { body?: Record<string, unknown>; headers?: Record<string, string> } = {}) {
  const jkt = await newJkt()
  const answer = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: jkt, ...options.body },
    headers: options.headers ?? {},
  })
  return { ...answer, jkt }
}

t.test('a start answers with a session that is ready, a token and both ways to the worker', async t => {
  const { status, body, jkt } = await start({ body: { display: { width: 1280, height: 800 } } })
  t.equal(status, 201)
  t.match(body.session, {
    state: 'ready',
    organization_id: organizationId,
    resource_id: resourceId,
    user_id: operator.id,
  })
  t.match(body.attachment, {
    state: 'ready',
    ordinal: 1,
    worker_id: worker.id,
    allowed_channels: ['display', 'input', 'events'],
  })
  t.match(body.data_plane.candidates, [
    { type: 'direct_worker_wss', url: worker.url, priority: 10, metadata: { tls_trust_mode: 'platform_ca' } },
    { type: 'backend_gateway', url: GATEWAY_URL, priority: 50 },
  ])
  const claims = await verifyToken('data_plane', body.data_plane.token, {
    keys: await keyLookupOf(JSON.parse((await instance.call(undefined, 'GET', '/.well-known/jwks.json')).text)),
    issuer: instance.controlPlane.context.config.DATA_PLANE_ISSUER,
    nowSeconds: Math.floor(Date.now() / 1000),
  })
  t.match(claims, { sub: operator.id, session_id: body.session.id, worker_id: worker.id, cnf: { jkt } })
})

t.test('an assignment carries the target and a reference to the secret, and the lease names the same ids', async t => {
  const { body } = await start()
  const assignment = worker.assignments.at(-1)!
  t.match(assignment, {
    worker_id: worker.id,
    session_id: body.session.id,
    attachment_id: body.attachment.id,
    secret_ref: `rap-secret://org/${organizationId}/resources/${resourceId}/rdp-primary`,
    bind_urls: [worker.url, GATEWAY_URL],
    target: {
      protocol: 'rdp',
      address: 'desktop.example:3389',
      certificate_verification_mode: 'strict',
      security: 'auto',
    },
  })
  const lease = JSON.parse((await stand.redis.get(`rap:lease:${assignment.lease_id}`))!)
  t.same(lease, {
    lease_id: assignment.lease_id,
    worker_id: worker.id,
    session_id: body.session.id,
    attachment_id: body.attachment.id,
  })
  t.ok((await stand.redis.pttl(`rap:lease:${assignment.lease_id}`)) > 20_000)
})

t.test('a failure that the worker reports is the answer, with its code, its remedy and the session', async t => {
  worker.reaction = {
    failure: {
      code: 'ERR_TARGET_LOGON_FAILED',
      title: 'Logon failed',
      detail: 'The password is wrong',
      remedy: 'Change it',
    },
  }
  const { status, body } = await start()
  worker.reaction = 'ready'
  t.equal(status, 502)
  t.match(body, { code: 'ERR_TARGET_LOGON_FAILED', detail: 'The password is wrong', remedy: 'Change it' })
  const session = await instance.call(operator, 'GET', `/v1/sessions/${body.session_id}`)
  t.match(session.body, {
    state: 'failed',
    failure: { code: 'ERR_TARGET_LOGON_FAILED' },
    attachment: { state: 'failed' },
  })
  const events = (await stand.audit(organizationId)).filter(event => event.session_id === body.session_id)
  t.match(events, [
    { event: 'session_started' },
    { event: 'session_failed', code: 'ERR_TARGET_LOGON_FAILED', actor_kind: 'worker', outcome: 'failed' },
  ])
})

t.test('a target that does not answer in time is a 504', async t => {
  worker.reaction = { failure: { code: 'ERR_TARGET_CONNECT_TIMEOUT', title: 'No answer' } }
  const { status } = await start()
  worker.reaction = 'ready'
  t.equal(status, 504)
})

t.test('a worker that stays silent makes a bounded wait and a typed failure', async t => {
  const impatient = await stand.build({ SESSION_READY_TIMEOUT_SECONDS: '1' })
  worker.reaction = 'silent'
  const began = performance.now()
  const answer = await impatient.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  worker.reaction = 'ready'
  t.equal(answer.status, 504)
  t.equal(answer.body.code, 'ERR_SESSION_START_TIMEOUT')
  t.ok(performance.now() - began < 20_000, 'and not as long as every other start here may take')
  const isOfIt = ({ session_id }: { session_id: string }) => session_id === answer.body.session_id
  const assignment = await waitFor(() => worker.assignments.find(isOfIt), { what: 'the order of the session' })
  const late = await worker.report(assignment.attachment_id, { state: 'ready' })
  t.equal(late.status, 409)
  t.match(late.body, { code: 'ERR_ATTACHMENT_STATE', state: 'failed' })
})

t.test('without a worker that fits, the answer says which of the reasons it is', async t => {
  await worker.heartbeat({ traffic_ready: false })
  t.match((await start()).body, { code: 'ERR_SESSION_NO_WORKER', reason: 'none_alive' })
  await worker.heartbeat({}, { sessions: 1000 })
  t.match((await start()).body, { code: 'ERR_SESSION_NO_WORKER', reason: 'all_full' })
  await worker.heartbeat()
  const south = await stand.resource(organizationId, { labels: { site: 'south' } })
  t.match((await start({ body: { resource_id: south } })).body, {
    code: 'ERR_SESSION_NO_WORKER',
    reason: 'none_with_labels',
  })
})

t.test('what Redis says about a worker beside its load is not believed', async t => {
  await worker.heartbeat({ public_url: 'wss://attacker.example/data-plane/v1', labels: { site: 'south' } })
  const { body } = await start()
  t.notMatch(JSON.stringify(body), 'attacker')
  await stand.redis.set(`rap:worker:${worker.id}`, 'x'.repeat(100_000))
  t.match((await start()).body, { reason: 'none_alive' })
  await stand.redis.del(`rap:worker:${worker.id}`)
  await stand.redis.lpush(`rap:worker:${worker.id}`, 'a list')
  t.match((await start()).body, { reason: 'none_alive' })
  await stand.redis.del(`rap:worker:${worker.id}`)
  await worker.heartbeat()
})

t.test('a repeated Idempotency-Key gives the same session, also when both requests are under way', async t => {
  const key = randomUUID()
  const jkt = await newJkt()
  const options = { body: { resource_id: resourceId, dpop_jkt: jkt }, headers: { 'idempotency-key': key } }
  const answers = await Promise.all([1, 2, 3].map(() => instance.call(operator, 'POST', '/v1/sessions', options)))
  t.same(
    answers.map(answer => answer.status),
    [201, 201, 201],
  )
  t.equal(new Set(answers.map(answer => answer.body.session.id)).size, 1)
  const again = await instance.call(operator, 'POST', '/v1/sessions', {
    ...options,
    body: { dpop_jkt: jkt, resource_id: resourceId },
  })
  t.equal(again.body.session.id, answers[0]!.body.session.id, 'the order of the members does not count')
})

t.test('a repeated Idempotency-Key with another body is refused', async t => {
  const key = randomUUID()
  await start({ headers: { 'idempotency-key': key } })
  const { status, body } = await start({ headers: { 'idempotency-key': key } })
  t.equal(status, 422)
  t.equal(body.code, 'ERR_IDEMPOTENCY_KEY_REUSED')
})

t.test('an Idempotency-Key belongs to one user', async t => {
  const other = await stand.user({ organizationId, role: 'operator' })
  const key = randomUUID()
  const first = await start({ headers: { 'idempotency-key': key } })
  const second = await instance.call(other, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
    headers: { 'idempotency-key': key },
  })
  t.equal(second.status, 201)
  t.not(second.body.session.id, first.body.session.id)
})

t.test('a failed start is the same failure when it is repeated with its key', async t => {
  const key = randomUUID()
  const options = { body: { resource_id: resourceId, dpop_jkt: await newJkt() }, headers: { 'idempotency-key': key } }
  worker.reaction = { failure: { code: 'ERR_TARGET_DNS', title: 'No such host' } }
  const first = await instance.call(operator, 'POST', '/v1/sessions', options)
  worker.reaction = 'ready'
  const second = await instance.call(operator, 'POST', '/v1/sessions', options)
  t.same(
    [second.status, second.body.code, second.body.session_id],
    [first.status, 'ERR_TARGET_DNS', first.body.session_id],
  )
})

t.test('the number of connected sessions of a user is limited, and detached ones do not count', async t => {
  const small = await stand.build({ SESSION_LIMIT_PER_USER: '2' })
  const user = await stand.user({ organizationId, role: 'operator' })
  const begin = async () =>
    await small.call(user, 'POST', '/v1/sessions', { body: { resource_id: resourceId, dpop_jkt: await newJkt() } })
  // All at once: the limit holds under concurrency as well.
  const answers = await Promise.all([begin(), begin(), begin(), begin()])
  const made = answers.filter(answer => answer.status === 201)
  t.equal(made.length, 2)
  t.ok(answers.filter(answer => answer.body.code === 'ERR_SESSION_LIMIT_USER').length === 2)
  await small.call(user, 'POST', `/v1/sessions/${made[0]!.body.session.id}/detach`)
  t.equal((await begin()).status, 201)
})

t.test('the number of connected sessions of an organization is limited', async t => {
  const other = await stand.organization()
  const small = await stand.build({ SESSION_LIMIT_PER_ORGANIZATION: '1' })
  const user = await stand.user({ organizationId: other, role: 'operator' })
  const resource = await stand.resource(other)
  const begin = async () =>
    await small.call(user, 'POST', '/v1/sessions', { body: { resource_id: resource, dpop_jkt: await newJkt() } })
  t.equal((await begin()).status, 201)
  t.match((await begin()).body, { code: 'ERR_SESSION_LIMIT_ORGANIZATION' })
})

const production = await stand.build({ APP_ENV: 'production' })

async function startOn(id: string, on = production) {
  return await on.call(operator, 'POST', '/v1/sessions', { body: { resource_id: id, dpop_jkt: await newJkt() } })
}

t.test(
  'in production a resource without a secret, or with a target that is not verified, starts no session',
  async t => {
    const bare = await stand.resource(organizationId, { secret: false })
    const assignments = worker.assignments.length
    const refused = await startOn(bare)
    t.equal(refused.status, 409)
    t.match(refused.body, { code: 'ERR_RESOURCE_SECRET_REQUIRED' })
    const insecure = await stand.resource(organizationId, { metadata: { certificate_verification_mode: 'insecure' } })
    t.match((await startOn(insecure)).body, { code: 'ERR_RESOURCE_INSECURE_VERIFICATION' })
    t.equal(worker.assignments.length, assignments)
    t.same(await stand.sql`select 1 from rap.remote_sessions where resource_id in (${bare}, ${insecure})`, [])
    t.equal((await startOn(bare, instance)).status, 201, 'outside production it may hold its credentials in metadata')
  },
)

t.test(
  'in production a row from earlier times that holds a credential starts no session, each time in the audit',
  async t => {
    const legacy: readonly (readonly [Record<string, unknown>, string])[] = [
      [{ Pass_Word: 'canary-71' }, '/metadata/Pass_Word'],
      [{ username: 'canary-71', rack: 1 }, '/metadata/username'],
      [{ rdp: { targets: [{ dbPwd2: 'canary-71' }] } }, '/metadata/rdp/targets/0/dbPwd2'],
      [{ note: 'rdp://u:canary-71@h' }, '/metadata/note'],
    ]
    const assignments = worker.assignments.length
    for (const [metadata, path] of legacy) {
      const id = await stand.resource(organizationId, { metadata })
      for (let attempt = 0; attempt < 2; attempt++) {
        const refused = await startOn(id)
        t.equal(refused.status, 422)
        t.match(refused.body, { code: 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS', findings: [{ path }] })
        t.notMatch(refused.text, 'canary')
      }
      const events = (await stand.audit(organizationId)).filter(event => event.resource_id === id)
      const expected = {
        event: 'resource_rejected_plaintext_credentials',
        outcome: 'refused',
        code: 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS',
        details: { operation: 'session_start', paths: path, found: 1 },
      }
      t.match(events, [expected, expected])
      t.same(await stand.sql`select 1 from rap.remote_sessions where resource_id = ${id}`, [])
    }
    t.notMatch(JSON.stringify(await stand.audit(organizationId)), 'canary')
    t.notMatch(stand.log, 'canary')
    t.equal(worker.assignments.length, assignments)
  },
)

t.test('in production a credential that comes into the row while a session starts is seen under the lock', async t => {
  const id = await stand.resource(organizationId)
  const change = await stand.sql.reserve()
  await change`begin`
  await change`update rap.resources set metadata = '{"password": "canary-72"}' where id = ${id}`
  const starting = startOn(id)
  // The start has read the old row and now waits for the lock of the new one.
  const isWaiting = async () => (await stand.sql`select 1 from pg_locks where not granted`).length > 0
  await waitFor(isWaiting, { what: 'the wait for the lock' })
  await change`commit`
  change.release()
  const { body, text } = await starting
  t.match(body, { code: 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS', findings: [{ path: '/metadata/password' }] })
  t.notMatch(text, 'canary')
  t.match((await stand.audit(organizationId)).at(-1), {
    event: 'resource_rejected_plaintext_credentials',
    resource_id: id,
  })
  t.same(await stand.sql`select 1 from rap.remote_sessions where resource_id = ${id}`, [])
})

t.test('in production a session is not attached to again once its resource holds a credential', async t => {
  const id = await stand.resource(organizationId)
  const { body } = await startOn(id)
  await production.call(operator, 'POST', `/v1/sessions/${body.session.id}/detach`)
  await stand.sql`update rap.resources set metadata = '{"token": "canary-73"}' where id = ${id}`
  const refused = await production.call(operator, 'POST', `/v1/sessions/${body.session.id}/attachments`, {
    body: { dpop_jkt: await newJkt() },
  })
  t.match(refused.body, { code: 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS', findings: [{ path: '/metadata/token' }] })
  t.match((await stand.audit(organizationId)).at(-1), {
    event: 'resource_rejected_plaintext_credentials',
    details: { operation: 'session_attach' },
  })
})

t.test('in development a session starts on plaintext metadata, and its assignment carries none of it', async t => {
  const id = await stand.resource(organizationId, {
    secret: false,
    metadata: { username: 'canary-74', password: 'canary-74' },
  })
  const { status, text } = await startOn(id, instance)
  t.equal(status, 201)
  t.notMatch(text, 'canary')
  t.notMatch(JSON.stringify(worker.assignments.at(-1)), 'canary')
})

t.test('in production a smoke_insecure worker is not advertised', async t => {
  const smokeInsecure = await stand.build({
    APP_ENV: 'production',
    DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'smoke_insecure',
  })
  const { body } = await smokeInsecure.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  t.same(
    body.data_plane.candidates.map((candidate: { type: string }) => candidate.type),
    ['backend_gateway'],
  )
})

t.test(
  'in development a resource without a secret starts with no reference, and credentials stay in the database',
  async t => {
    const plain = await stand.resource(organizationId, {
      secret: false,
      metadata: { username: 'u', password: 'pw-canary-77' },
    })
    t.equal((await start({ body: { resource_id: plain } })).status, 201)
    const assignment = worker.assignments.at(-1)!
    t.equal(assignment.secret_ref, null)
    t.notMatch(JSON.stringify(assignment), 'pw-canary-77')
  },
)

t.test('a Redis that is away fails a start at once with a typed problem', async t => {
  await stand.redisServer.stop()
  const { status, body } = await start()
  t.equal(status, 503)
  t.equal(body.code, 'ERR_SESSION_COORDINATION_UNAVAILABLE')
  await stand.redisServer.restart()
})
