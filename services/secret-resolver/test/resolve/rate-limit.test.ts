import t from 'tap'
import { seedWorker } from '../support/seed.ts'
import { auditOf, leaseToken, putSecret, resolve, seedPlace, startWorld, writeLease } from '../support/world.ts'

const world = await startWorld(t)
const limits = { perWorkerPerMinute: 5, perSessionPerMinute: 2 }
const [first, second] = [await world.startResolver({ limits }), await world.startResolver({ limits })]

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

t.test('the first refusal of a window is audited, the rest are not', async t => {
  await world.redis.flushall()
  const before = (await auditOf(world, null)).length
  for (let used = 0; used < 9; used++) await resolve(first, world.worker, 'x')
  const events = (await auditOf(world, null)).slice(before)
  t.equal(events.length, 6)
  t.match(events.at(-1), {
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

t.test('the window ends by itself', async t => {
  await world.redis.flushall()
  await resolve(first, world.worker, 'x')
  const ttl = await world.redis.pttl(`rap:secret-resolver:rate:worker:${world.worker.id}`)
  t.ok(0 < ttl && ttl <= 60_000)
})
