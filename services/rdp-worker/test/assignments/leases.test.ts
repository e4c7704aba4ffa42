import { randomUUID } from 'node:crypto'
import { connectRedis, createLogger } from '@rap/service-kit'
import { startRedis, waitFor } from '@rap/testkit'
import t from 'tap'
import { Leases } from '../../src/assignments/leases.ts'
import type { Teardown } from '../peer.ts'
import { newPlace } from '../signing.ts'

const server = await startRedis()
t.teardown(() => server.stop())
const logger = createLogger({ service: 'rdp-worker', level: 'silent' })
const redis = connectRedis(server.url, { name: 'test', logger })
t.teardown(() => redis.disconnect())
/** A third of it is the time between two renewals. */
const LEASE_MS = 600

function startLeases(t: Teardown) {
  const lost: string[] = []
  const connection = connectRedis(server.url, { name: 'test-leases', logger })
  const leases = new Leases({
    redis: connection,
    logger,
    onLost: ({ lease_id }) => lost.push(lease_id),
    leaseMs: LEASE_MS,
  })
  t.teardown(() => {
    leases.close()
    connection.disconnect()
  })
  return { leases, lost }
}

function newLease() {
  const { worker_id, session_id, attachment_id } = newPlace(randomUUID())
  const lease = { lease_id: randomUUID(), worker_id, session_id, attachment_id }
  const key = `rap:lease:${lease.lease_id}`
  // As the control plane writes it: the order of the members is part of it.
  const text = JSON.stringify(lease)
  return { lease, key, text }
}

t.test('a lease that is held outlives its life, and ends at once when it is given up', async t => {
  const { leases, lost } = startLeases(t)
  const { lease, key, text } = newLease()
  await redis.set(key, text, 'PX', LEASE_MS)
  leases.hold(lease)
  let [left, renewals] = [LEASE_MS, 0]
  await waitFor(
    async () => {
      const before = left
      left = await redis.pttl(key)
      t.ok(left <= LEASE_MS)
      if (left > before) renewals += 1
      // Three a life.
      return renewals === 6
    },
    { what: 'two lives' },
  )
  await waitFor(async () => (await redis.get(key)) === text, { what: 'the lease' })
  await leases.release(lease.lease_id)
  t.equal(await redis.get(key), null)
  await leases.release(lease.lease_id)
  t.same(lost, [])
})

t.test('a lease that Redis has lost is set again while it is held', async t => {
  const { leases, lost } = startLeases(t)
  const { lease, key, text } = newLease()
  leases.hold(lease)
  await waitFor(async () => (await redis.get(key)) === text, { what: 'the lease, which nobody has written yet' })
  await redis.flushall()
  await waitFor(async () => (await redis.get(key)) === text, { what: 'the lease after Redis was emptied' })
  t.same(lost, [])
})

t.test('a lease with another owner is lost: it is told once, and never renewed or deleted again', async t => {
  const { leases, lost } = startLeases(t)
  const { lease, key } = newLease()
  leases.hold(lease)
  const thief = JSON.stringify({ ...lease, worker_id: randomUUID() })
  await redis.set(key, thief)
  await waitFor(() => lost.length === 1, { what: 'the loss' })
  await leases.release(lease.lease_id)
  t.equal(await redis.get(key), thief)
  t.same(lost, [lease.lease_id])
})

t.test('giving a lease up never deletes that of another owner', async t => {
  const { leases } = startLeases(t)
  const { lease, key } = newLease()
  leases.hold(lease)
  await redis.set(key, 'of somebody else')
  await leases.release(lease.lease_id)
  t.equal(await redis.get(key), 'of somebody else')
})

t.test('one key out of form takes nothing from the other leases', async t => {
  const { leases, lost } = startLeases(t)
  const [broken, stolen, good] = [newLease(), newLease(), newLease()]
  await redis.lpush(broken.key, 'no text')
  await redis.set(stolen.key, 'of somebody else')
  for (const { lease } of [broken, stolen, good]) leases.hold(lease)
  await waitFor(() => lost.length === 1, { what: 'the loss of the stolen one' })
  t.same(lost, [stolen.lease.lease_id])
  await waitFor(async () => (await redis.get(good.key)) === good.text, { what: 'the good one' })
})

t.test('a Redis that is away ends no session, and finds the lease again', async t => {
  const { leases, lost } = startLeases(t)
  const { lease, key, text } = newLease()
  leases.hold(lease)
  await server.restart()
  await waitFor(async () => (await redis.get(key)) === text, { what: 'the lease after the restart' })
  t.same(lost, [])
  await server.stop()
  await leases.release(lease.lease_id)
  t.pass('giving it up does not reject')
  await server.restart()
})
