import { randomUUID } from 'node:crypto'
import { type ConnectionOptions, connect } from 'node:tls'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { call } from './support/https.ts'
import { createPlatform } from './support/platform.ts'
import { seal } from './support/seal.ts'
import {
  auditOf,
  leaseToken,
  putSecret,
  resolve,
  secretPath,
  seedPlace,
  startWorld,
  writeLease,
} from './support/world.ts'

const world = await startWorld(t)
const resolver = await world.startResolver()

/** Sends bytes over TLS and says whether anything came back. */
async function answersBytes(options: ConnectionOptions, bytes: string): Promise<boolean> {
  const { port } = new URL(resolver.origin)
  return await new Promise<boolean>(resolveAnswer => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), ca: world.platform.ca, ...options })
    socket.on('error', () => resolveAnswer(false))
    socket.on('close', () => resolveAnswer(false))
    socket.on('data', () => {
      resolveAnswer(true)
      socket.destroy()
    })
    socket.write(bytes)
  })
}
const HTTP = 'GET /v1/sealing-key HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'

t.test('a handshake without a client certificate fails, whatever the TLS version', async t => {
  await t.rejects(call(resolver.origin, { ca: world.platform.ca }, { method: 'GET', path: '/v1/sealing-key' }))
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    t.equal(await answersBytes({ maxVersion }, HTTP), false, maxVersion)
    const { cert, key } = world.controlPlane
    t.equal(await answersBytes({ maxVersion, cert, key }, HTTP), true, `${maxVersion} with a certificate`)
  }
  t.equal(await answersBytes({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ...world.controlPlane }, HTTP), false)
})

t.test('a certificate of another authority fails the handshake, also with the right SPIFFE ID', async t => {
  const stranger = await createPlatform()
  const { cert, key } = await stranger.identity('service', 'control-plane')
  await t.rejects(
    call(resolver.origin, { ca: world.platform.ca, cert, key }, { method: 'GET', path: '/v1/sealing-key' }),
  )
  const event = await waitFor(
    async () =>
      (await auditOf(world, null)).find(({ details }) => details.reason === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'),
    { what: 'the handshake in the audit' },
  )
  t.match(event, {
    event: 'resource_secret_access_denied',
    code: 'ERR_MTLS_IDENTITY',
    actor_id: 'unidentified',
    details: { client_address: '127.0.0.1' },
  })
})

t.test('plain HTTP is not answered', async t => {
  const { port } = new URL(resolver.origin)
  await t.rejects(fetch(`http://127.0.0.1:${port}/v1/sealing-key`))
})

t.test('every route is for exactly one identity', async t => {
  const place = await seedPlace(world)
  const jwk = (await resolver.call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).body
  await putSecret(world, resolver, place)
  await writeLease(world, place)
  const path = secretPath(place)
  const order = { actor_user_id: place.user_id, request_id: randomUUID() }
  const routes = [
    { method: 'GET', path: '/v1/sealing-key' },
    { method: 'PUT', path, body: { sealed: await seal(jwk, place), ...order } },
    { method: 'GET', path },
    { method: 'DELETE', path, body: order },
  ]
  const callers = {
    worker: world.worker,
    gateway: await world.platform.identity('service', 'gateway'),
    'another resolver': await world.platform.identity('service', 'secret-resolver'),
    'a worker by the name of control-plane': await world.platform.identity('worker', 'control-plane'),
    'a certificate without a SPIFFE ID': await world.platform.nameless(),
  }
  for (const [name, caller] of Object.entries(callers)) {
    for (const route of routes) {
      const answer = await resolver.call(caller, route)
      t.match(
        { status: answer.status, code: answer.body.code },
        { status: 403, code: 'ERR_MTLS_IDENTITY' },
        `${name}: ${route.method} ${route.path}`,
      )
    }
    if (caller === world.worker) continue
    const token = await leaseToken(world, place, { claims: { cnf: { 'x5t#S256': caller.thumbprint } } })
    const denied = await resolve(resolver, caller, token)
    t.match({ status: denied.status, code: denied.body.code }, { status: 403, code: 'ERR_RESOLVE_DENIED' }, name)
  }
  const token = await leaseToken(world, place)
  t.equal((await resolve(resolver, world.controlPlane, token)).body.code, 'ERR_RESOLVE_DENIED')
  t.equal((await resolve(resolver, world.worker, token)).status, 200, 'and nothing of it changed anything')
})

t.test('nothing but the five routes is there', async t => {
  for (const path of ['/', '/healthz', '/readyz', '/metrics', '/docs', '/v1', '/v1/secrets', '/v1/resolve/x']) {
    t.equal((await resolver.call(world.controlPlane, { method: 'GET', path })).status, 404, path)
  }
  t.equal((await resolver.call(world.worker, { method: 'GET', path: '/v1/resolve' })).status, 405)
})

t.test('answers are not cached and name the request', async t => {
  const { headers } = await resolver.call(world.controlPlane, {
    method: 'GET',
    path: '/v1/sealing-key',
    headers: { 'x-request-id': 'request-id-of-mine' },
  })
  t.match(headers, { 'cache-control': /no-store/, 'x-request-id': 'request-id-of-mine' })
})

t.test(
  'without Redis or without the grants of the control plane the answer is 503, and it comes back by itself',
  async t => {
    const place = await seedPlace(world)
    await putSecret(world, resolver, place)
    const token = await leaseToken(world, place)
    const { controlPlane: sql } = world.database
    await sql`revoke select on rap.workers from rap_secret_resolver`
    await writeLease(world, place)
    t.equal((await resolve(resolver, world.worker, token)).body.code, 'ERR_UPSTREAM_UNAVAILABLE')
    await sql`select rap.grant_secret_resolver()`
    await sql`revoke execute on function rap.append_audit_event(jsonb) from rap_secret_resolver`
    t.equal((await resolve(resolver, world.worker, token)).body.code, 'ERR_UPSTREAM_UNAVAILABLE', 'no audit, no secret')
    t.equal((await putSecret(world, resolver, place)).body.code, 'ERR_UPSTREAM_UNAVAILABLE', 'no audit, no change')
    await sql`select rap.grant_secret_resolver()`
    await world.redisServer.stop()
    t.equal((await resolve(resolver, world.worker, token)).body.code, 'ERR_UPSTREAM_UNAVAILABLE')
    await world.redisServer.restart()
    await writeLease(world, place)
    t.equal((await resolve(resolver, world.worker, token)).status, 200, 'and none of it has spent the token')
  },
)
