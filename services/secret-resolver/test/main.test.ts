import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:tls'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { call } from './support/https.ts'
import { readiness, readyFields, serviceEnv, startService } from './support/service.ts'
import { leaseToken, putSecret, type Resolver, resolve, seedPlace, startWorld, writeLease } from './support/world.ts'

const world = await startWorld(t)
/** One environment, and so one master key, for all starts on this world's database. */
const env = await serviceEnv(t, world)

const remote = (origin: string): Resolver => ({
  origin,
  call: (tls, options) => call(origin, tls, options),
  close: async () => {},
})

t.test('the service starts from its environment, serves, and ends in order', async t => {
  const service = await startService(t, env)
  const { internal_url, health_url } = await readyFields(service)
  t.strictSame(await readiness(health_url), {
    status: 200,
    checks: { database: 'ok', grants: 'ok', redis: 'ok', key_provider: 'ok', identity: 'ok' },
  })
  const resolver = remote(internal_url)
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  t.equal((await resolve(resolver, world.worker, token)).status, 200)
  t.equal((await resolve(resolver, world.worker, token)).status, 403)
  const metrics = await (await fetch(`${health_url}/metrics`)).text()
  t.match(metrics, /rap_secret_resolves_total\{outcome="ok",reason="",service="secret-resolver"\} 1/)
  t.match(metrics, /rap_secret_resolves_total\{outcome="refused",reason="lease_token_replayed",.*\} 1/)
  service.kill('SIGTERM')
  t.equal((await service.exited).code, 0)
})

t.test('a second start with the same key serves what the first one stored', async t => {
  const first = await startService(t, env)
  const place = await seedPlace(world)
  await putSecret(world, remote((await readyFields(first)).internal_url), place)
  await first.stop()
  const second = await startService(t, env)
  await writeLease(world, place)
  const resolver = remote((await readyFields(second)).internal_url)
  t.equal((await resolve(resolver, world.worker, await leaseToken(world, place))).status, 200)
})

t.test('a renewed certificate is taken without a restart', async t => {
  const service = await startService(t, env)
  const { internal_url } = await readyFields(service)
  const renewed = await world.platform.identity('service', 'secret-resolver')
  writeFileSync(env.RAP_TLS_KEY_FILE as string, renewed.key)
  writeFileSync(env.RAP_TLS_CERT_FILE as string, renewed.cert)
  const served = () =>
    new Promise<string>((done, fail) => {
      const { ca, cert, key } = world.controlPlane
      const socket = connect({ host: '127.0.0.1', port: Number(new URL(internal_url).port), ca, cert, key }, () => {
        done(createHash('sha256').update(socket.getPeerCertificate().raw).digest('base64url'))
        socket.destroy()
      })
      socket.on('error', fail)
    })
  await waitFor(async () => (await served()) === renewed.thumbprint, { what: 'the new certificate', timeoutMs: 60_000 })
  t.equal((await remote(internal_url).call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).status, 200)
})
