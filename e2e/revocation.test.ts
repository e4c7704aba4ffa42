import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { type Platform, removePostgresData, startPlatform, startShadow, targetOf, tempDir, waitFor } from '@rap/testkit'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { bindDesktop, type Desktop, endSession, openDesktop, typeUntil } from './desktop.ts'
import { bentToken, stolenSigningKey } from './forge.ts'
import { newClientKey, type Started, wireBind } from './wire-client.ts'

const REVOKED = { code: 4005, reason: 'ERR_WORKER_REVOKED' }
/** What the issue promises, in milliseconds. */
const PROMISED_MS = 5000

const shadow = await startShadow({ username: 'svc', password: 'revoke-Pa55', security: 'nla' })
t.teardown(() => shadow.stop())
const home = tempDir('rap-e2e-')
t.teardown(() => {
  removePostgresData(join(home.path, 'postgres'))
  home.remove()
})
const credential = { username: 'svc', password: 'revoke-Pa55' }
const platform: Platform = await startPlatform({
  dir: home.path,
  identities: 'enrolled',
  workers: 2,
  targets: [targetOf(shadow, { name: 'desktop', credential, security: 'nla' })],
})
t.teardown(() => platform.stop())
const redis = new Redis(platform.redisUrl)
t.teardown(() => redis.disconnect())
const { api } = platform
const resourceId = platform.resources[0]?.id ?? ''
const key = await newClientKey()
const gatewayUrl = platform.gatewayUrl ?? ''

async function start(): Promise<Started> {
  return await api.call<Started>('POST', '/v1/sessions', { body: { resource_id: resourceId, dpop_jkt: key.jkt } })
}

/** Sessions on one worker: the less loaded one is chosen, so that two in a row are on two workers. */
async function startOn(workerId: string): Promise<Started> {
  for (;;) {
    const started = await start()
    if (started.attachment.worker_id === workerId) return started
    extra.push(started)
  }
}
const extra: Started[] = []

/** Key and certificate of a member, as a thief of its disk has them. */
function stolenFrom(id: string): { cert: string; key: string } {
  const pem = readFileSync(join(home.path, 'identities', id, 'identity.pem'), 'utf8')
  return { cert: pem.slice(pem.indexOf('-----BEGIN CERTIFICATE')), key: pem }
}

async function callAs(
  identity: { cert: string; key: string },
  url: string,
  { method = 'GET', body }: { method?: string; body?: unknown } = {},
): Promise<{ status: number; code: string | undefined }> {
  return await new Promise((resolve, reject) => {
    const options = { ...identity, ca: platform.authority.certificatePem, method, agent: false as const }
    const sent = request(url, { ...options, headers: { 'content-type': 'application/json' } }, answer => {
      let text = ''
      answer.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, code: JSON.parse(text || '{}').code }))
    })
    sent.on('error', reject)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

const identityUrl = `${platform.internalUrl}/internal/v1/identity`

async function assertAlive(t: Test, desktop: Desktop, witness: string): Promise<void> {
  await typeUntil(desktop, `touch ${witness}`, () => existsSync(join(shadow.home, witness)), {
    what: 'what was typed',
    timeoutMs: 30_000,
  })
  t.equal(desktop.socket.readyState, desktop.socket.OPEN, `${witness}: the desktop goes on`)
}

const [doomed, innocent] = platform.workers
if (doomed === undefined || innocent === undefined) throw new Error('there are no workers')
const thief = stolenFrom(doomed.id)

/** Everything that the thief of the worker's key is refused, whatever was restarted. */
async function assertRefused(t: Test, when: string): Promise<void> {
  const told = { status: 403, code: 'ERR_WORKER_REVOKED' }
  const refused = { status: 403, code: 'ERR_MTLS_IDENTITY' }
  const announcement = { public_url: doomed?.url }
  t.same(await callAs(thief, identityUrl), told, `${when}: the control plane tells it`)
  t.same(
    await callAs(thief, `${platform.internalUrl}/internal/v1/workers/self`, { method: 'POST', body: announcement }),
    told,
    `${when}: no announcement`,
  )
  t.same(
    await callAs(thief, `${platform.internalUrl}/internal/v1/identity/certificates`, {
      method: 'POST',
      body: { csr: 'x' },
    }),
    told,
    `${when}: no renewal`,
  )
  t.same(
    await callAs(thief, `${platform.internalUrl}/internal/v1/binds`, { method: 'POST', body: {} }),
    refused,
    `${when}: no bind`,
  )
  t.same(
    await callAs(thief, `${platform.resolverUrl}/v1/resolve`, { method: 'POST', body: {} }),
    refused,
    `${when}: no secret`,
  )
  t.same(await callAs(thief, `${platform.resolverUrl}/v1/sealing-key`), refused, `${when}: nothing of the resolver`)
}

t.test('a revoked worker loses its desktops on both ways within five seconds, and its neighbour none', async t => {
  const onDoomed = [await startOn(doomed.id), await startOn(doomed.id), await startOn(doomed.id)]
  const onInnocent = [await startOn(innocent.id), await startOn(innocent.id)]
  const [forDirect, forGateway, unbound] = onDoomed as [Started, Started, Started]
  const direct = await bindDesktop(platform, forDirect, { path: 'direct', key })
  const relayed = await bindDesktop(platform, forGateway, { path: 'gateway', key })
  const others = [
    await bindDesktop(platform, onInnocent[0] as Started, { path: 'direct', key }),
    await bindDesktop(platform, onInnocent[1] as Started, { path: 'gateway', key }),
  ]
  await assertAlive(t, direct, 'before-direct')
  await assertAlive(t, relayed, 'before-gateway')
  t.equal((await callAs(thief, identityUrl)).status, 200, 'its certificate is good until then')

  const before = performance.now()
  const revoked = await api.call<{ state: string; sessions_failed: number }>('POST', `/v1/workers/${doomed.id}/revoke`)
  t.match(revoked, { state: 'revoked' })
  t.ok(revoked.sessions_failed >= 3)
  t.same(await direct.closed, REVOKED)
  t.same(await relayed.closed, REVOKED)
  const tookMs = performance.now() - before
  t.ok(tookMs < PROMISED_MS, `${Math.round(tookMs)} ms`)
  const resolve = () => callAs(thief, `${platform.resolverUrl}/v1/resolve`, { method: 'POST', body: {} })
  await waitFor(async () => (await resolve()).code === 'ERR_MTLS_IDENTITY', { what: 'the resolver' })
  await assertRefused(t, 'at once')

  for (const { session } of onDoomed) {
    const seen = await api.call<object>('GET', `/v1/sessions/${session.id}`)
    t.match(seen, { state: 'failed', failure: { code: 'ERR_WORKER_REVOKED', remedy: String } })
  }
  const signingKey = await stolenSigningKey(platform, home.path)
  // Its own token, as if it had just been given.
  const fresh = () => {
    const now = Math.floor(Date.now() / 1000)
    return bentToken(signingKey, unbound.data_plane.token, { claims: { iat: now, nbf: now, exp: now + 60 } })
  }
  // A worker that is gone is unreachable too: only the gateway's log tells that it no longer tries.
  await waitFor(
    async () => {
      const token = await fresh()
      const outcome = await wireBind(platform, { url: gatewayUrl, token, proof: await key.proof(token, gatewayUrl) })
      t.match(outcome, { bound: false, reason: 'ERR_WORKER_UNREACHABLE' })
      return platform.gateway?.log().includes('"finding":"worker_not_in_directory"')
    },
    { what: 'a gateway that dials it no more' },
  )
  const listens = () =>
    wireBind(platform, { url: doomed.url, token: 'x', proof: 'x' }).then(
      () => true,
      () => false,
    )
  await waitFor(async () => !(await listens()), { what: 'the end of its listener' })
  t.equal(doomed.isRunning(), true, 'and is there to say why')
  const healthUrl = /"health_url":"([^"]+)"/.exec(doomed.log())?.[1]
  const isOut = async () => {
    const answer = await fetch(`${healthUrl}/readyz`)
    return answer.status === 503 && (await answer.text()).includes('revoked')
  }
  await waitFor(isOut, { what: 'a worker that is not ready and says why' })
  for (const [index, other] of others.entries()) await assertAlive(t, other, `after-${index}`)
  for (const started of [...onInnocent, ...extra.splice(0)]) await endSession(platform, started)
})

t.test('what is revoked stays so, whichever service is restarted and whatever Redis forgets or says', async t => {
  const claims = { worker_id: doomed.id }
  const signingKey = await stolenSigningKey(platform, home.path)
  const refusedByGateway = async (when: string) => {
    const started = await start()
    const token = await bentToken(signingKey, started.data_plane.token, { claims })
    const outcome = await wireBind(platform, { url: gatewayUrl, token, proof: await key.proof(token, gatewayUrl) })
    t.match(outcome, { bound: false, reason: 'ERR_WORKER_UNREACHABLE' }, `${when}: the gateway`)
    t.equal(started.attachment.worker_id, innocent.id, `${when}: it gets no session`)
    await endSession(platform, started)
  }
  // Somebody with its key and Redis pretends that it is there, at its own address, and the chosen one.
  const heard: Buffer[] = []
  const impostor = createTlsServer(thief, socket => socket.on('data', chunk => heard.push(chunk)))
  impostor.on('tlsClientError', () => {})
  await new Promise<void>(resolve => impostor.listen(Number(new URL(doomed.url).port), '127.0.0.1', resolve))
  t.teardown(() => impostor.close())
  const beat = JSON.parse((await redis.get(`rap:worker:${innocent.id}`)) ?? '{}')
  const pretend = () =>
    redis.set(`rap:worker:${doomed.id}`, JSON.stringify({ ...beat, worker_id: doomed.id, public_url: doomed.url }))

  await pretend()
  await refusedByGateway('pretending')
  await redis.flushall()
  await waitFor(async () => (await redis.exists(`rap:worker:${innocent.id}`)) === 1, {
    what: 'the next heartbeat',
    timeoutMs: 15_000,
  })
  await assertRefused(t, 'after Redis was emptied')
  await pretend()
  for (const service of [platform.controlPlane, platform.secretResolver, platform.gateway]) {
    await service?.restart()
    await waitFor(async () => (await callAs(stolenFrom(innocent.id), identityUrl)).status === 200, { what: 'the rest' })
    await assertRefused(t, `after the restart of ${service?.name}`)
  }
  await waitFor(async () => (await redis.exists(`rap:worker:${innocent.id}`)) === 1, { what: 'a heartbeat' })
  await refusedByGateway('after all restarts')
  t.same(heard, [], 'nobody said a word to the impostor')
})

t.test('a heartbeat with another address moves no connection of the gateway', async t => {
  let visits = 0
  const trap = createServer(socket => {
    visits += 1
    socket.destroy()
  })
  await new Promise<void>(resolve => trap.listen(0, '127.0.0.1', resolve))
  t.teardown(() => trap.close())
  const { port } = trap.address() as { port: number }
  const name = `rap:worker:${innocent.id}`
  const real = JSON.parse((await redis.get(name)) ?? '{}')
  const poison = JSON.stringify({ ...real, public_url: `wss://localhost:${port}/data-plane/v1` })
  await redis.set(name, poison, 'EX', 30)
  const desktop = await openDesktop(platform, { resourceId, key, path: 'gateway' })
  await assertAlive(t, desktop, 'poisoned')
  t.equal(visits, 0)
  await endSession(platform, desktop.started)
})

t.test('a certificate that is taken back ends what stands on it, and its owner is told', async t => {
  const desktops = [
    await openDesktop(platform, { resourceId, key }),
    await openDesktop(platform, { resourceId, key, path: 'gateway' }),
  ]
  const stolen = stolenFrom(innocent.id)
  const serial = new X509Certificate(stolen.cert).serialNumber.toLowerCase().replace(/^0+(?=.)/, '')
  const before = performance.now()
  await api.call('POST', `/v1/certificates/${serial}/revoke`)
  for (const desktop of desktops) t.same(await desktop.closed, REVOKED)
  t.ok(performance.now() - before < PROMISED_MS)
  t.same(await callAs(stolen, identityUrl), { status: 403, code: 'ERR_CERTIFICATE_REVOKED' })
  const { items } = await api.call<{ items: { id: string; state: string }[] }>('GET', '/v1/identities')
  t.equal(items.find(({ id }) => id === innocent.id)?.state, 'active', 'the identity stays')
})

t.test('the audit has it all', async t => {
  for (const event of ['worker_revoked', 'certificate_revoked', 'revoked_peer_refused']) {
    const query = `/v1/audit-events?organization_id=platform&event=${event}`
    const rows = async () => (await api.call<{ items: unknown[] }>('GET', query)).items.length
    // Refusals are counted for some seconds where there are many.
    t.ok(await waitFor(rows, { what: event }), event)
  }
})
