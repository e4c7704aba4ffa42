import { waitFor } from '@rap/testkit'
import t from 'tap'
import { seedWorker } from '../support/seed.ts'
import {
  auditOf,
  leaseToken,
  putSecret,
  resolve,
  secretPath,
  seedPlace,
  startWorld,
  writeLease,
} from '../support/world.ts'

const world = await startWorld(t)
const limits = { perWorkerPerMinute: 5, perSessionPerMinute: 2 }
const auditWindowMs = 50
const [first, second] = [await world.startResolver({ limits, auditWindowMs }), await world.startResolver({ limits })]

/** How many windows of the audit there can have been: ten seconds each, where nothing else is said. */
const windowsSince = (beganAtMs: number) => 1 + Math.ceil((performance.now() - beganAtMs) / 10_000)

/** Waits until rows of the platform's chain behind the first `before` stand for `count` refusals, and answers them. */
async function standingFor(count: number, before: number) {
  const rows = async () => (await auditOf(world, null)).slice(before)
  const sum = async () =>
    (await rows()).reduce((total, { details }) => total + 1 + Number(details?.suppressed_count ?? 0), 0)
  await waitFor(async () => (await sum()) >= count, { what: `rows for ${count} refusals` })
  return { rows: await rows(), sum: await sum() }
}

t.test('a worker is slowed down over all instances, and another one is not', async t => {
  await world.redis.flushall()
  for (let used = 0; used < 5; used++) {
    t.equal((await resolve(used % 2 === 0 ? first : second, world.worker, 'x')).status, 403)
  }
  const limited = await resolve(first, world.worker, 'x')
  t.equal(limited.status, 429)
  t.equal(limited.body.code, 'ERR_RATE_LIMITED')
  t.ok(Number(limited.headers['retry-after']) >= 1 && Number(limited.headers['retry-after']) <= 60)
  const other = await world.platform.identity('worker')
  t.equal((await resolve(first, other, 'x')).status, 403)
})

t.test('a flood is a few rows with its exact number', async t => {
  await world.redis.flushall()
  const slow = await world.startResolver({ limits })
  const before = (await auditOf(world, null)).length
  const beganAtMs = performance.now()
  let refused = 0
  for (let used = 0; used < 200; used++) {
    if ((await resolve(slow, world.worker, 'x')).status === 429) refused += 1
  }
  await slow.close()
  const { rows, sum } = await standingFor(200, before)
  t.equal(sum, 200)
  t.ok(rows.length <= 10 * windowsSince(beganAtMs), `${rows.length} rows`)
  const limited = rows.filter(({ code }) => code === 'ERR_RATE_LIMITED')
  t.equal(
    limited.reduce((total, { details }) => total + 1 + Number(details.suppressed_count ?? 0), 0),
    refused,
  )
  t.ok(refused > 100, `${refused} were over the limit`)
  t.match(limited.at(-1), {
    event: 'resource_secret_access_denied',
    code: 'ERR_RATE_LIMITED',
    actor_id: world.worker.id,
    details: { reason: 'rate_limited', limit: 'worker' },
  })
})

t.test('a session is slowed down by its own worker only', async t => {
  await world.redis.flushall()
  const place = await seedPlace(world)
  await putSecret(world, first, place)
  await writeLease(world, place)
  const thief = await world.platform.identity('worker')
  await seedWorker(world.database.controlPlane, thief.id)
  const stolen = await leaseToken(world, place)
  for (let used = 0; used < 4; used++) t.equal((await resolve(first, thief, stolen)).status, 403)
  t.equal((await resolve(first, world.worker, stolen)).status, 200)
  t.equal((await resolve(first, world.worker, stolen)).status, 403)
  t.equal((await resolve(first, world.worker, stolen)).status, 429)
})

t.test('whatever lies at a counter, it counts and ends within the window', async t => {
  const caller = await world.platform.identity('worker')
  const key = `rap:secret-resolver:rate:worker:${caller.id}`
  const lies: [string, () => Promise<unknown>][] = [
    ['a list', () => world.redis.rpush(key, 'x')],
    ['a text', () => world.redis.set(key, 'x')],
    ['a number without an end', () => world.redis.set(key, '3')],
    ['a number with an end in a year', () => world.redis.set(key, '1000000', 'EX', 365 * 86_400)],
    ['the largest number', () => world.redis.set(key, '9223372036854775807')],
  ]
  for (const [name, lie] of lies) {
    await world.redis.flushall()
    await lie()
    t.ok([403, 429].includes((await resolve(first, caller, 'x')).status), name)
    const left = await world.redis.pttl(key)
    t.ok(0 < left && left <= 60_000, `${name}: ${left} ms left`)
  }
})

t.test('every counter has an end, and there is one for each certificate and each session that was proved', async t => {
  await world.redis.flushall()
  const place = await seedPlace(world)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  await resolve(first, world.worker, token)
  for (const wrong of ['x', `${token}x`, await leaseToken(world, place, { ageSeconds: 600 })]) {
    await resolve(first, world.worker, wrong)
  }
  const keys = await world.redis.keys('rap:secret-resolver:*')
  t.strictSame(
    keys.sort(),
    [
      `rap:secret-resolver:rate:session:${place.session_id}`,
      `rap:secret-resolver:rate:worker:${world.worker.id}`,
    ].sort(),
  )
  for (const key of keys) t.ok((await world.redis.pttl(key)) > 0, key)
  t.equal(await world.redis.get(`rap:secret-resolver:rate:session:${place.session_id}`), '1')
})

t.test('each denial about a live lease has its own row, whatever floods beside it', async t => {
  await world.redis.flushall()
  const roomy = await world.startResolver()
  const place = await seedPlace(world)
  await putSecret(world, roomy, place)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  t.equal((await resolve(roomy, world.worker, token)).status, 200)
  const thief = await world.platform.identity('worker')
  const beganAtMs = performance.now()
  for (let used = 0; used < 20; used++) {
    t.equal((await resolve(roomy, thief, 'x')).status, 403)
    t.equal((await resolve(roomy, thief, token)).status, 403)
    t.equal((await resolve(roomy, world.worker, token)).status, 403)
  }
  await roomy.close()
  const denials = (await auditOf(world, place.organization_id)).filter(({ code }) => code === 'ERR_RESOLVE_DENIED')
  const of = (reason: string) => denials.filter(({ details }) => details.reason === reason)
  t.equal(of('lease_token_replayed').length, 20)
  t.notOk(of('lease_token_replayed').some(({ details }) => details.suppressed_count !== undefined))
  const mismatches = of('certificate_mismatch')
  t.ok(mismatches.length <= 5 * windowsSince(beganAtMs), `${mismatches.length} rows`)
  t.equal(
    mismatches.reduce((total, { details }) => total + 1 + Number(details.suppressed_count ?? 0), 0),
    20,
  )
  t.match(mismatches.at(-1), { actor_id: thief.id })
})

t.test('a session over its limit is audited with the number of its requests', async t => {
  await world.redis.flushall()
  const place = await seedPlace(world)
  await writeLease(world, place)
  const before = (await auditOf(world, null)).length
  const roomy = await world.startResolver({ limits: { perWorkerPerMinute: 100, perSessionPerMinute: 2 } })
  const statuses: number[] = []
  for (let used = 0; used < 6; used++) {
    statuses.push((await resolve(roomy, world.worker, await leaseToken(world, place))).status)
  }
  t.strictSame(statuses, [403, 403, 429, 429, 429, 429])
  await roomy.close()
  const { rows, sum } = await standingFor(4, before)
  t.equal(sum, 4)
  t.match(rows[0], { details: { reason: 'rate_limited', limit: 'session' } })
})

t.test(
  'on the routes of the control plane a stranger is limited too, and names no organization in the audit',
  async t => {
    const victim = await seedPlace(world)
    for (const [kind, id, caller] of [
      ['worker', world.worker.id, world.worker],
      ['service', 'gateway', await world.platform.identity('service', 'gateway')],
      ['system', 'unidentified', await world.platform.nameless()],
    ] as const) {
      await world.redis.flushall()
      const before = (await auditOf(world, null)).length
      const statuses: number[] = []
      for (let used = 0; used < 9; used++) {
        const answer = await first.call(caller, { method: 'GET', path: secretPath(victim) })
        statuses.push(answer.status)
      }
      t.strictSame(statuses, [403, 403, 403, 403, 403, 429, 429, 429, 429], id)
      const { rows: events, sum } = await standingFor(9, before)
      t.equal(sum, 9)
      // What is counted is written at the end of a window, in no order among the codes.
      const [denied, limited] = ['ERR_MTLS_IDENTITY', 'ERR_RATE_LIMITED'].map(code =>
        events.find(event => event.code === code),
      )
      t.match(denied, {
        event: 'resource_secret_access_denied',
        code: 'ERR_MTLS_IDENTITY',
        actor_kind: kind,
        actor_id: id,
        resource_id: null,
        details: { reason: 'route_of_control_plane', method: 'GET', route: /:organization_id/ },
      })
      t.match(limited, { code: 'ERR_RATE_LIMITED', actor_id: id })
      t.equal((await auditOf(world, victim.organization_id)).length, 0)
    }
    for (let used = 0; used < 9; used++) {
      t.equal((await first.call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).status, 200)
    }
  },
)

t.test('the window ends by itself', async t => {
  await world.redis.flushall()
  await resolve(first, world.worker, 'x')
  const ttl = await world.redis.pttl(`rap:secret-resolver:rate:worker:${world.worker.id}`)
  t.ok(0 < ttl && ttl <= 60_000)
})

t.test('while Redis is away nobody but the control plane gets an answer', async t => {
  const place = await seedPlace(world)
  await putSecret(world, first, place)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  await world.redisServer.stop()
  for (const attempt of [token, 'x']) {
    t.equal((await resolve(first, world.worker, attempt)).body.code, 'ERR_UPSTREAM_UNAVAILABLE')
  }
  t.equal((await first.call(world.controlPlane, { method: 'GET', path: secretPath(place) })).status, 200)
  await world.redisServer.restart()
  await writeLease(world, place)
  t.equal((await resolve(first, world.worker, token)).status, 200, 'and the token was not spent')
})
