import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { type Platform, startPlatform, startShadow, TRUST_DOMAIN, targetOf, waitFor } from '@rap/testkit'
import { Redis } from 'ioredis'
import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { type Desktop, endSession, openDesktop, typeUntil } from './desktop.ts'
import { newClientKey, type Started, wireBind } from './wire-client.ts'

// Everything here is done by somebody who may read and write all of Redis, and has nothing else.

const shadow = await startShadow({ username: 'svc', password: 'redis-Pa55', security: 'nla' })
t.teardown(() => shadow.stop())
const credential = { username: 'svc', password: 'redis-Pa55' }
const platform: Platform = await startPlatform({
  workers: 2,
  targets: [targetOf(shadow, { name: 'desktop', credential, security: 'nla' })],
})
t.teardown(() => platform.stop())
const redis = new Redis(platform.redisUrl)
t.teardown(() => redis.disconnect())
const sql = postgres(platform.databaseUrls.superuser, { max: 2 })
t.teardown(() => sql.end())
const { api, workers } = platform
const resourceId = platform.resources[0]?.id ?? ''
const key = await newClientKey()

const streamOf = (workerId: string): string => `rap:worker:${workerId}:assignments`
const services = [platform.controlPlane, platform.secretResolver, platform.gateway, ...workers]

function start(): Promise<{ status: number; body: Started & { code?: string } }> {
  return api.send('POST', '/v1/sessions', { body: { resource_id: resourceId, dpop_jkt: key.jkt } })
}

/** A session on the other worker than the live desktop's, so that it can be restarted. A heartbeat may be behind: then it is tried again. */
async function startBeside(): Promise<Started> {
  for (;;) {
    const { body } = await start()
    if (body.attachment.worker_id !== live.started.attachment.worker_id) return body
    await endSession(platform, body)
  }
}

/** The assignment that the control plane wrote last for this session, as it lies in Redis. */
async function assignmentOf({ session, attachment }: Started): Promise<string> {
  const entries = await redis.xrevrange(streamOf(attachment.worker_id), '+', '-', 'COUNT', 50)
  const found = entries.map(([, fields]) => fields[1] ?? '').find(text => decodeJwt(text).session_id === session.id)
  if (found === undefined) throw new Error('there is no assignment')
  return found
}

async function resolves(): Promise<number> {
  const [row] = await sql`select count(*)::int as count from rap.audit_events where event = 'resource_secret_accessed'`
  return row?.count
}

/** How often the workers refused an assignment so far, by code. */
function refusals(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const worker of workers) {
    for (const [, code = ''] of worker.log().matchAll(/"assignment_refused","code":"(\w+)"/g))
      counts.set(code, (counts.get(code) ?? 0) + 1)
  }
  return counts
}

const total = (counts: Map<string, number>): number => [...counts.values()].reduce((sum, count) => sum + count, 0)

/** A listener of the attacker; it tells how many came and what they said. */
async function trap(t: Test): Promise<{ readonly port: number; readonly visits: () => number }> {
  let visits = 0
  const server = createServer(socket => {
    visits++
    socket.destroy()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { port: (server.address() as { port: number }).port, visits: () => visits }
}

async function assertAlive(t: Test, desktop: Desktop, witness: string): Promise<void> {
  await typeUntil(desktop, `touch ${witness}`, () => existsSync(join(shadow.home, witness)), {
    what: 'what was typed',
    timeoutMs: 30_000,
  })
  t.equal(desktop.socket.readyState, desktop.socket.OPEN, 'the live desktop goes on')
  t.ok(
    services.every(service => service?.isRunning() !== false),
    'every service runs',
  )
}

const live = await openDesktop(platform, { resourceId, key })
t.teardown(() => live.socket.terminate())

t.test('an assignment that the control plane did not sign, for this worker, now, sends nothing anywhere', async t => {
  const { port, visits } = await trap(t)
  const { body: started } = await start()
  const real = await assignmentOf(started)
  await endSession(platform, started)
  const [header = '', , signature = ''] = real.split('.')
  const claims = decodeJwt(real)
  const elsewhere = { ...claims, target: { ...(claims.target as object), address: `127.0.0.1:${port}` } }
  const own = await generateKeyPair('RS256')
  const { kid } = decodeProtectedHeader(real)
  const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = (head: Record<string, unknown>): Promise<string> =>
    new SignJWT(elsewhere)
      .setProtectedHeader({ alg: 'RS256', typ: 'rap-assignment+jwt', kid, ...head } as never)
      .sign(own.privateKey)
  const forged: (string | Buffer)[] = [
    '',
    'x',
    '{"assignment_id":1}',
    'a'.repeat(100_000),
    Buffer.from([0, 255, 10, 13, 128]),
    '[['.repeat(4000),
    `${header}.${json(elsewhere)}.${signature}`,
    `${json({ alg: 'none', typ: 'rap-assignment+jwt' })}.${json(elsewhere)}.`,
    `${json({ alg: 'HS256', typ: 'rap-assignment+jwt', kid })}.${json(elsewhere)}.${signature}`,
    await signed({}),
    await signed({ kid: 'another' }),
    await signed({ jku: `http://127.0.0.1:${port}/keys` }),
    // Real tokens of the control plane, for another purpose.
    String(claims.lease_token),
    started.data_plane.token,
  ]
  const before = total(refusals())
  const accessed = await resolves()
  for (const worker of workers) {
    for (const text of forged) await redis.xadd(streamOf(worker.id), '*', 'assignment', text)
    // The right words for the wrong worker, and fields that are not asked for.
    if (worker.id !== started.attachment.worker_id) await redis.xadd(streamOf(worker.id), '*', 'assignment', real)
    await redis.xadd(streamOf(worker.id), '*', 'x', 'y', 'assignment', real)
  }
  const expected = before + 2 * (forged.length + 1) + 1
  await waitFor(() => total(refusals()) >= expected, { what: 'the refusals' })
  t.equal(visits(), 0, 'nobody came to the attacker')
  t.equal(await resolves(), accessed, 'no secret was resolved')
  await assertAlive(t, live, 'after-forgery')
})

t.test('an assignment that is written again opens nothing again, not even after its worker was restarted', async t => {
  const started = await startBeside()
  const real = await assignmentOf(started)
  const worker = workers.find(({ id }) => id === started.attachment.worker_id)
  const before = refusals().get('ERR_ASSIGNMENT_REPEATED') ?? 0
  const accessed = await resolves()
  for (let index = 0; index < 5; index++) await redis.xadd(streamOf(worker?.id ?? ''), '*', 'assignment', real)
  await waitFor(() => (refusals().get('ERR_ASSIGNMENT_REPEATED') ?? 0) >= before + 5, { what: 'the refusals' })
  await worker?.restart()
  await redis.xadd(streamOf(worker?.id ?? ''), '*', 'assignment', real)
  const denied = /"target_failed".*ERR_TARGET_CREDENTIALS_DENIED/
  await waitFor(() => denied.test(worker?.log() ?? ''), { what: 'the refusal' })
  t.equal(await resolves(), accessed, 'the lease token resolves once')
  await endSession(platform, started)
})

t.test('whatever the registry says, the gateway asks the control plane where a worker is', async t => {
  const heard: Buffer[] = []
  const stranger = await createAuthority({ name: 'stranger', days: 1, now: new Date() })
  const desktop = await start()
  const { attachment } = desktop.body
  const another = workers.find(({ id }) => id !== attachment.worker_id)?.id ?? ''
  const urls: string[] = [
    'ws://127.0.0.1:1/data-plane/v1',
    'http://127.0.0.1/',
    'wss://[',
    'wss://u:p@localhost/data-plane/v1',
  ]
  for (const { authority, id } of [
    { authority: stranger, id: attachment.worker_id },
    { authority: platform.authority, id: another },
  ]) {
    const { certificatePem: cert, keyPem } = await issueCertificate({
      authority,
      commonName: id,
      dnsNames: ['localhost'],
      uris: [spiffeId(TRUST_DOMAIN, 'worker', id)],
      usages: ['server'],
      now: new Date(),
    })
    const server = createTlsServer({ cert, key: keyPem }, socket => socket.on('data', chunk => heard.push(chunk)))
    server.on('tlsClientError', () => {})
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    urls.push(`wss://localhost:${(server.address() as { port: number }).port}/data-plane/v1`)
  }
  const url = platform.gatewayUrl ?? ''
  const registered = JSON.parse((await redis.get(`rap:worker:${attachment.worker_id}`)) ?? '{}')
  const started = [desktop.body]
  for (const poison of urls) {
    for (const { id } of workers)
      await redis.set(`rap:worker:${id}`, JSON.stringify({ ...registered, worker_id: id, public_url: poison }))
    const { body } = await start()
    started.push(body)
    const { token, candidates } = body.data_plane
    const bound = await wireBind(platform, { url, token, proof: await key.proof(token, url) })
    t.equal(bound.bound, true, poison.slice(0, 5))
    if (bound.bound) bound.socket.terminate()
    t.ok(
      candidates.every(offer => [url, ...workers.map(worker => worker.url)].includes(offer.url)),
      'and no client is sent there',
    )
  }
  t.same(heard, [], 'nobody else heard a word')
  for (const body of started) await endSession(platform, body)
})

t.test('heartbeats of workers that do not exist, or with loads that cannot be, get no session', async t => {
  const ghost = crypto.randomUUID()
  const [real = '{}'] = await redis.mget(`rap:worker:${workers[0]?.id}`)
  const beat = JSON.parse(real ?? '{}')
  await redis.set(`rap:worker:${ghost}`, JSON.stringify({ ...beat, worker_id: ghost }), 'EX', 30)
  for (const load of [{ sessions: -5, max_sessions: 10 }, { sessions: '0', max_sessions: {} }, [], 1e308]) {
    await redis.set(
      `rap:worker:${workers[0]?.id}`,
      JSON.stringify({ ...beat, load, worker_id: workers[0]?.id }),
      'EX',
      30,
    )
    const { status, body } = await start()
    t.equal(status, 201)
    t.ok(
      workers.some(({ id }) => id === body.attachment.worker_id),
      'a worker of the database',
    )
    await endSession(platform, body)
  }
  await redis.del(`rap:worker:${ghost}`)
})

t.test('hints that anybody could have written close nothing', async t => {
  const channel = `rap:worker:${live.started.attachment.worker_id}:control`
  const hint = { type: 'close_attachment', attachment_id: live.started.attachment.id, reason: 'ERR_SESSION_TERMINATED' }
  const texts = [JSON.stringify(hint), '', '{', '\u0000'.repeat(5000), JSON.stringify({ ...hint, reason: { a: 1 } })]
  const pipeline = redis.pipeline()
  for (let index = 0; index < 1000; index++) pipeline.publish(channel, texts[index % texts.length] ?? '')
  await pipeline.exec()
  await assertAlive(t, live, 'after-hints')
})

t.test('a lease that is made for a session that has ended brings it back for nobody', async t => {
  const { body: started } = await start()
  const real = await assignmentOf(started)
  const { lease_id, worker_id, session_id, attachment_id } = decodeJwt(real)
  await endSession(platform, started)
  await redis.set(`rap:lease:${lease_id}`, JSON.stringify({ lease_id, worker_id, session_id, attachment_id }))
  const { status, body } = await api.send('POST', `/v1/sessions/${session_id}/data-plane-token`, { body: {} })
  t.equal(status, 409)
  t.match(body, { code: 'ERR_SESSION_ENDED' })
  await redis.del(`rap:lease:${lease_id}`)
})

t.test('a stream that is flooded delays a session and does not prevent it', async t => {
  for (const { id } of workers) {
    const pipeline = redis.pipeline()
    for (let index = 0; index < 3000; index++) pipeline.xadd(streamOf(id), '*', 'assignment', `junk-${index}`)
    await pipeline.exec()
  }
  const { status, body } = await start()
  t.equal(status, 201)
  await endSession(platform, body)
  await assertAlive(t, live, 'after-flood')
})

t.test('whatever lies at the keys, no service ends, no answer is an internal error, and it is replaced', async t => {
  const junk: ((key: string) => Promise<unknown>)[] = [
    key => redis.rpush(key, 'a', 'b'),
    key => redis.hset(key, 'a', 'b'),
    key => redis.zadd(key, 1, 'a'),
    key => redis.setbit(key, 7, 1),
    key => redis.set(key, '['.repeat(20_000)),
    key => redis.set(key, 'null'),
  ]
  for (const [index, put] of junk.entries()) {
    for (const name of await redis.keys('*')) {
      await redis.del(name)
      await put(name)
    }
    const { status, body } = await start()
    t.ok([201, 502, 503].includes(status), `start: ${status} ${body.code ?? ''}`)
    if (status === 201) await endSession(platform, body)
    const login = await api.send<{ code?: string }>('POST', '/v1/auth/login', { body: platform.admin, token: null })
    t.ok([200, 429, 503].includes(login.status), `log-in: ${login.status} ${login.body.code ?? ''} (${index})`)
  }
  await redis.flushall()
  await waitFor(
    async () => {
      const { status, body } = await start()
      if (status === 201) await endSession(platform, body)
      return status === 201
    },
    { what: 'a session', timeoutMs: 20_000, intervalMs: 250 },
  )
  // The live desktop may have ended, since its lease was written over; a new one comes up.
  const desktop = await openDesktop(platform, { resourceId, key })
  await assertAlive(t, desktop, 'after-junk')
  await endSession(platform, desktop.started)
})
