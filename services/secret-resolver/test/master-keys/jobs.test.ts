import { randomBytes, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { KeyRing, openLocalKey, singleKeySource } from '@rap/key-provider'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { call } from '../support/https.ts'
import { countByKey, keepSecrets, lostOf, withWorkLeft } from '../support/keep.ts'
import { readyFields, serviceEnv, startService } from '../support/service.ts'
import { leaseToken, putSecret, type Resolver, resolve, seedPlace, startWorld, writeLease } from '../support/world.ts'

const world = await startWorld(t)
const { resolver: sql, superuser } = world.database
const base = await serviceEnv(t, world)
const dir = dirname(base.SECRET_ENCRYPTION_KEY_FILE as string)
const providers = join(dir, 'key-providers.json')
const newKey = join(dir, 'key-2.key')
writeFileSync(newKey, randomBytes(32), { mode: 0o600 })
writeFileSync(providers, '{"keys":[]}', { mode: 0o600 })
const env = { ...base, SECRET_KEY_PROVIDERS_FILE: providers }
const user = randomUUID()

async function service() {
  const running = await startService(t, env)
  const { internal_url: origin } = await readyFields(running)
  const resolver: Resolver = { origin, call: (tls, options) => call(origin, tls, options), close: async () => {} }
  const order = { actor_user_id: user, request_id: 'request-1' }
  return {
    running,
    resolver,
    post: (path: string, body: object = {}) =>
      resolver.call(world.controlPlane, { method: 'POST', path, body: { ...order, ...body } }),
    get: (path: string) => resolver.call(world.controlPlane, { method: 'GET', path }),
  }
}

t.test('a key that is configured while resolvers run can be rotated to, and is never waited for in vain', async t => {
  const { running, post, get } = await service()
  t.match((await post('/v1/master-keys/rotate', { source: 'key-2' })).body, { code: 'ERR_MASTER_KEY_SOURCE_UNKNOWN' })
  writeFileSync(providers, 'not json')
  await running.waitForOutput(/"event":"key_providers_not_read"/, 30_000)
  t.match(
    (await get('/v1/master-keys')).body.sources,
    [{ name: 'key-1', health: 'ok' }],
    'a wrong file changes nothing',
  )
  writeFileSync(providers, JSON.stringify({ keys: [{ name: 'key-2', provider: 'file', file: newKey }] }))
  // A key is known a moment before this resolver says that it has its source; till then a rotation is refused.
  await waitFor(
    async () => {
      const { items } = (await get('/v1/master-keys')).body
      return items.length === 2 && items.every((item: { missing_on: string[] }) => item.missing_on.length === 0)
    },
    { what: 'the key to be known on every resolver' },
  )
  const rotated = await post('/v1/master-keys/rotate', { source: 'key-2' })
  t.match(rotated.body, { previous_key_id: 'key-1', active_key_id: 'key-2' })
  const { items, instances } = (await get('/v1/master-keys')).body
  t.match(items, [
    { key_id: 'key-2', state: 'active', provider: 'file', missing_on: [] },
    { key_id: 'key-1', state: 'available', provider: 'file', missing_on: [] },
  ])
  t.equal(instances.length, 1)
  t.match((await post('/v1/master-keys/key-2/retire')).body, { code: 'ERR_MASTER_KEY_ACTIVE' })
  await running.stop()
  t.match(await sql`select from secrets.resolver_instances`, { length: 0 }, 'one that ends is off the list')
})

t.test('a re-wrap over the API goes on after kill -9, while sessions start', async t => {
  const keys = new KeyRing(
    await Promise.all(
      [
        ['key-1', base.SECRET_ENCRYPTION_KEY_FILE as string],
        ['key-2', newKey],
      ].map(async ([keyId, file]) => singleKeySource(await openLocalKey({ keyId: keyId as string, file }))),
    ),
  )
  const first = await service()
  const places = await Promise.all(Array.from({ length: 3 }, () => seedPlace(world)))
  for (const place of places) {
    await putSecret(world, first.resolver, place)
    await writeLease(world, place)
  }
  const kept = await keepSecrets(sql, keys, { count: 3000, keyId: 'key-1' })
  await superuser`update secrets.resource_secrets set key_id = key_id`
  const plan = (await first.get('/v1/rewraps/plan')).body
  t.match(plan, { to_key_id: 'key-2' })
  t.ok(plan.total >= 3000)

  const ordered = await withWorkLeft(superuser, async () => {
    const answer = await first.post('/v1/rewraps')
    t.equal(answer.status, 202)
    t.match(answer.body, { state: 'running', to_key_id: 'key-2', total: plan.total })
    t.match((await first.post('/v1/rewraps')).body, { code: 'ERR_REWRAP_RUNNING' })
    const isBegun = async () => ((await countByKey(sql))['key-1'] ?? 0) < kept.length
    await waitFor(isBegun, { what: 'a first batch' })
    first.running.kill('SIGKILL')
    await first.running.exited
    return answer
  })
  t.strictSame(await lostOf(sql, keys, kept), [])

  const second = await service()
  let resolved = 0
  const status = async () => (await second.get(`/v1/rewraps/${ordered.body.id}`)).body
  while ((await status()).state === 'running' || resolved === 0) {
    for (const place of places) {
      await writeLease(world, place)
      const answer = await resolve(second.resolver, world.worker, await leaseToken(world, place))
      t.equal(answer.status, 200)
      resolved++
    }
  }
  t.match(await status(), { state: 'finished', remaining: 0, failed: 0, seconds_left: 0 })
  t.notOk((await countByKey(sql))['key-1'], 'nothing is left behind')
  t.strictSame(await lostOf(sql, keys, kept), [])
  t.equal((await second.post('/v1/master-keys/key-1/retire')).status, 200)
  t.match((await second.get('/v1/rewraps')).body.items, [{ id: ordered.body.id, state: 'finished' }])
  const events = await superuser`
    select event, actor_id, request_id from rap.audit_events where event like 'secret_key_rewrap%' order by id`
  t.match(events, [
    { event: 'secret_key_rewrap_started', actor_id: user, request_id: 'request-1' },
    { event: 'secret_key_rewrap_finished', actor_id: user },
  ])
  await second.running.stop()
})

t.test('a worker manages no keys', async t => {
  const { running, resolver } = await service()
  for (const [method, path] of [
    ['GET', '/v1/master-keys'],
    ['POST', '/v1/master-keys/rotate'],
    ['POST', '/v1/master-keys/key-1/retire'],
    ['GET', '/v1/rewraps'],
    ['GET', '/v1/rewraps/plan'],
    ['POST', '/v1/rewraps'],
  ] as const) {
    const body = { source: 'key-1', actor_user_id: user, request_id: 'x' }
    const answer = await resolver.call(world.worker, { method, path, ...(method === 'POST' && { body }) })
    t.match({ status: answer.status, code: answer.body.code }, { status: 403, code: 'ERR_MTLS_IDENTITY' }, path)
  }
  await running.stop()
})
