import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { destroyExpiredVersions } from '../../src/secrets/retention.ts'
import { MAX_KEPT_VERSIONS } from '../../src/secrets/write.ts'
import type { Answer } from '../support/https.ts'
import { RDP_PAYLOAD } from '../support/seal.ts'
import type { Place } from '../support/seed.ts'
import {
  auditOf,
  leaseToken,
  putSecret,
  type Resolver,
  resolve,
  secretPath,
  seedPlace,
  startWorld,
  writeLease,
} from '../support/world.ts'

const world = await startWorld(t)
const resolver = await world.startResolver()
const { superuser, resolver: sql } = world.database

const write = (place: Place, password: string, by: Resolver = resolver) =>
  putSecret(world, by, place, { payload: { ...RDP_PAYLOAD, password } })
const rollback = (place: Place, to_version: unknown, more: object = {}) =>
  resolver.call(world.controlPlane, {
    method: 'POST',
    path: `${secretPath(place)}/rollback`,
    body: { to_version, actor_user_id: place.user_id, request_id: randomUUID(), ...more },
  })
const history = async (place: Place) => {
  const answer = await resolver.call(world.controlPlane, { method: 'GET', path: `${secretPath(place)}/versions` })
  return answer.body.items as {
    version: number
    state: string
    superseded_at: string | null
    destroy_after: string | null
  }[]
}
const states = async (place: Place) => (await history(place)).map(({ version, state }) => [version, state])
const isProblem = (t: Test, answer: Answer, status: number, code: string) =>
  t.match({ status: answer.status, body: answer.body }, { status, body: { code, status } })

async function resolved(place: Place) {
  await writeLease(world, place)
  const answer = await resolve(resolver, world.worker, await leaseToken(world, place))
  return JSON.parse((await answer.open()).payload)
}

t.test('a rollback is the next version with the content of the older one', async t => {
  const place = await seedPlace(world)
  await write(place, 'first')
  await write(place, 'second')
  const answer = await rollback(place, 1, { expected_version: 2 })
  t.match(
    { status: answer.status, body: answer.body },
    { status: 200, body: { version: 3, created_by: place.user_id } },
  )
  t.match(await resolved(place), { password: 'first', username: RDP_PAYLOAD.username, rotation_version: 3 })
  t.strictSame(await states(place), [
    [3, 'live'],
    [2, 'superseded'],
    [1, 'superseded'],
  ])
  const [live, older] = await history(place)
  t.equal(live?.destroy_after, null)
  const kept = Date.parse(older?.destroy_after ?? '') - Date.parse(older?.superseded_at ?? '')
  t.equal(kept, 3_600_000, 'the history says until when one can go back')
  const [rotated] = (await auditOf(world, place.organization_id)).filter(({ details }) => details.version === 3)
  t.match(rotated, {
    event: 'resource_secret_rotated',
    actor_id: place.user_id,
    secret_ref: place.secret_ref,
    details: { previous_version: 2, rolled_back_to: 1 },
  })
  t.equal((await rollback(place, 2)).body.version, 4)
  t.match(await resolved(place), { password: 'second', rotation_version: 4 })
})

t.test('a version in force, one that never was and a destroyed one cannot be rolled back to', async t => {
  const place = await seedPlace(world)
  await write(place, 'first')
  isProblem(t, await rollback(place, 1), 404, 'ERR_SECRET_VERSION_NOT_FOUND')
  isProblem(t, await rollback(place, 9), 404, 'ERR_SECRET_VERSION_NOT_FOUND')
  for (const wrong of [0, -1, 1.5, '1', null, 2 ** 31])
    isProblem(t, await rollback(place, wrong), 400, 'ERR_VALIDATION')
  await write(place, 'second')
  isProblem(t, await rollback(place, 1, { expected_version: 1 }), 409, 'ERR_SECRET_VERSION_CONFLICT')
  const other = await seedPlace(world)
  isProblem(t, await rollback({ ...place, resource_id: other.resource_id }, 1), 404, 'ERR_RESOURCE_NOT_FOUND')
})

t.test(
  'rollbacks and writes at once are versions of their own, and one of those that saw the same version',
  async t => {
    const place = await seedPlace(world)
    await write(place, 'first')
    await write(place, 'second')
    const answers = await Promise.all([
      ...Array.from({ length: 4 }, () => rollback(place, 1, { expected_version: 2 })),
      ...Array.from({ length: 4 }, () => putSecret(world, resolver, place, { expected_version: 2 })),
    ])
    t.equal(answers.filter(({ status }) => status === 200).length, 1)
    t.equal(answers.filter(({ body }) => body.code === 'ERR_SECRET_VERSION_CONFLICT').length, 7)
    t.strictSame(
      (await states(place)).filter(([, state]) => state === 'live').map(([version]) => version),
      [3],
    )
  },
)

t.test('an older version is destroyed when its time is over, and that is audited', async t => {
  const place = await seedPlace(world)
  await write(place, 'first')
  await write(place, 'second')
  const hour = 3_600_000
  const at = (ms: number) => ({ sql, now: () => new Date(Date.now() + ms), versionRetentionMs: hour })
  await destroyExpiredVersions(at(hour - 60_000))
  t.strictSame(await states(place), [
    [2, 'live'],
    [1, 'superseded'],
  ])
  t.ok((await destroyExpiredVersions(at(hour + 60_000))) >= 1)
  t.strictSame(await states(place), [
    [2, 'live'],
    [1, 'destroyed'],
  ])
  const [row] = await superuser`
    select octet_length(ciphertext) as content, octet_length(wrapped_data_key) as key from secrets.resource_secrets
    where secret_ref = ${place.secret_ref} and version = 1`
  t.match(row, { content: 0, key: 0 })
  isProblem(t, await rollback(place, 1), 404, 'ERR_SECRET_VERSION_NOT_FOUND')
  t.match((await auditOf(world, place.organization_id)).at(-1), {
    event: 'resource_secret_version_destroyed',
    actor_kind: 'service',
    secret_ref: place.secret_ref,
    details: { version: 1, reason: 'retention' },
  })
  t.match(await resolved(place), { password: 'second' })
})

t.test('sweeps at once destroy each version once', async t => {
  const places = await Promise.all(Array.from({ length: 5 }, () => seedPlace(world)))
  for (const place of places) {
    await write(place, 'first')
    await write(place, 'second')
  }
  const sweep = () => destroyExpiredVersions({ sql, now: () => new Date(Date.now() + 60_000), versionRetentionMs: 0 })
  await Promise.all([sweep(), sweep(), sweep()])
  for (const place of places) {
    const destroyed = (await auditOf(world, place.organization_id)).filter(
      ({ event }) => event === 'resource_secret_version_destroyed',
    )
    t.equal(destroyed.length, 1)
  }
})

t.test('without a time for rollbacks the version before is destroyed with the write', async t => {
  const eager = await world.startResolver({ versionRetentionMs: 0 })
  const place = await seedPlace(world)
  await write(place, 'first', eager)
  await write(place, 'second', eager)
  t.strictSame(await states(place), [
    [2, 'live'],
    [1, 'destroyed'],
  ])
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { version: 1, reason: 'no_retention' })
})

t.test('a writer cannot pile up versions', async t => {
  const place = await seedPlace(world)
  const count = MAX_KEPT_VERSIONS + 4
  for (let at = 1; at <= count; at++) await write(place, `password-${at}`)
  const kept = await states(place)
  t.equal(kept.filter(([, state]) => state === 'superseded').length, MAX_KEPT_VERSIONS)
  t.strictSame(kept.slice(-3), [
    [3, 'destroyed'],
    [2, 'destroyed'],
    [1, 'destroyed'],
  ])
})

t.test('a deletion destroys every version', async t => {
  const place = await seedPlace(world)
  await write(place, 'first')
  await write(place, 'second')
  const body = { actor_user_id: place.user_id, request_id: randomUUID() }
  t.equal((await resolver.call(world.controlPlane, { method: 'DELETE', path: secretPath(place), body })).status, 200)
  t.strictSame(await states(place), [
    [2, 'destroyed'],
    [1, 'destroyed'],
  ])
  isProblem(t, await rollback(place, 1), 404, 'ERR_SECRET_VERSION_NOT_FOUND')
})

t.test('an older version that was changed by hand is not brought back', async t => {
  const [place, other] = [await seedPlace(world), await seedPlace(world)]
  for (const each of [place, other]) {
    await write(each, 'first')
    await write(each, 'second')
  }
  await superuser`
    update secrets.resource_secrets mine set ciphertext = theirs.ciphertext, nonce = theirs.nonce,
      wrapped_data_key = theirs.wrapped_data_key
    from secrets.resource_secrets theirs
    where mine.secret_ref = ${place.secret_ref} and mine.version = 1
      and theirs.secret_ref = ${other.secret_ref} and theirs.version = 1`
  isProblem(t, await rollback(place, 1), 409, 'ERR_SECRET_UNREADABLE')
  t.match(await resolved(place), { password: 'second' })
})

t.test('a worker and a stranger see no history and roll nothing back', async t => {
  const place = await seedPlace(world)
  await write(place, 'first')
  await write(place, 'second')
  for (const [method, path] of [
    ['GET', `${secretPath(place)}/versions`],
    ['POST', `${secretPath(place)}/rollback`],
  ] as const) {
    const body = method === 'POST' ? { to_version: 1, actor_user_id: place.user_id, request_id: 'x' } : undefined
    isProblem(t, await resolver.call(world.worker, { method, path, ...(body && { body }) }), 403, 'ERR_MTLS_IDENTITY')
  }
})
