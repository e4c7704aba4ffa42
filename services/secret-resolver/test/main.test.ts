import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:tls'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { migrateControlPlane, startDatabase } from './support/database.ts'
import { call } from './support/https.ts'
import { readyFields, serviceEnv, startService } from './support/service.ts'
import { leaseToken, putSecret, type Resolver, resolve, seedPlace, startWorld, writeLease } from './support/world.ts'

// Processes are started and ended, one after the other.
t.setTimeout(110_000)
const world = await startWorld(t)
/** One environment, and so one master key, for all starts on this world's database. */
const env = await serviceEnv(t, world)

const remote = (origin: string): Resolver => ({
  origin,
  call: (tls, options) => call(origin, tls, options),
  close: async () => {},
})
const readiness = async (healthUrl: string) => {
  const answer = await fetch(`${healthUrl}/readyz`)
  const { checks } = (await answer.json()) as { checks: Record<string, string> }
  return { status: answer.status, checks }
}

t.test('the service starts from its environment, serves, and ends in order', async t => {
  const service = await startService(t, env)
  const { internal_url, health_url } = await readyFields(service)
  t.strictSame(await readiness(health_url), {
    status: 200,
    checks: { database: 'ok', grants: 'ok', redis: 'ok', key_provider: 'ok' },
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

t.test('the service starts before the control plane has made its schema, and says what is missing', async t => {
  const database = await startDatabase(t, { withoutControlPlane: true, withoutOwn: true })
  const elsewhere = { ...env, DATABASE_URL: database.urls.resolver }
  const service = await startService(t, elsewhere)
  const { health_url } = await readyFields(service)
  const before = await readiness(health_url)
  t.equal(before.status, 503)
  t.match(before.checks, { database: 'ok', grants: /^missing: rap\.resources, .*rap\.append_audit_event$/ })
  await migrateControlPlane(database.urls.controlPlane)
  await waitFor(async () => (await readiness(health_url)).status === 200, { what: 'readiness' })
})

t.test('one role for both schemas works too', async t => {
  const database = await startDatabase(t, { withoutControlPlane: true, withoutOwn: true })
  await migrateControlPlane(database.urls.superuser)
  const elsewhere = { ...env, DATABASE_URL: database.urls.superuser }
  const { health_url } = await readyFields(await startService(t, elsewhere))
  t.equal((await readiness(health_url)).status, 200)
})

t.test('a schema that was made for the role is used without the right to make one', async t => {
  const database = await startDatabase(t, { withoutOwn: true })
  const [{ name } = { name: '' }] = await database.superuser<{ name: string }[]>`select current_database() as name`
  await database.superuser.unsafe(`revoke create on database "${name}" from rap_secret_resolver`)
  await database.superuser`create schema secrets authorization rap_secret_resolver`
  const elsewhere = { ...env, DATABASE_URL: database.urls.resolver }
  const { health_url } = await readyFields(await startService(t, elsewhere))
  t.equal((await readiness(health_url)).status, 200)
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
  await waitFor(async () => (await served()) === renewed.thumbprint, { what: 'the new certificate', timeoutMs: 15_000 })
  t.equal((await remote(internal_url).call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).status, 200)
})
