import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { StoredSecretRow } from '../../src/secrets/store.ts'
import type { Answer } from '../support/https.ts'
import { RDP_PAYLOAD, seal } from '../support/seal.ts'
import { type Place, seedOrganization, seedResource } from '../support/seed.ts'
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
const resolver = await world.startResolver()
const { superuser } = world.database

const rowsOf = (place: Place) =>
  superuser<(StoredSecretRow & { superseded_at: Date | null; destroyed_at: Date | null; metadata: unknown })[]>`
    select * from secrets.resource_secrets where secret_ref = ${place.secret_ref} order by version`
const order = (place: Place, more: object = {}) => ({ actor_user_id: place.user_id, request_id: randomUUID(), ...more })
const remove = (place: Place, more: object = {}) =>
  resolver.call(world.controlPlane, { method: 'DELETE', path: secretPath(place), body: order(place, more) })
const metadata = (place: Place) => resolver.call(world.controlPlane, { method: 'GET', path: secretPath(place) })
const sealingKey = async () =>
  (await resolver.call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).body
const put = (place: Place, sealed: unknown, more: object = {}) =>
  resolver.call(world.controlPlane, { method: 'PUT', path: secretPath(place), body: { sealed, ...order(place, more) } })
const isProblem = (t: Test, answer: Answer, status: number, code: string) =>
  t.match({ status: answer.status, body: answer.body }, { status, body: { code, status } })

t.test('writing a secret answers its metadata and stores nothing readable', async t => {
  const place = await seedPlace(world)
  const answer = await putSecret(world, resolver, place)
  t.equal(answer.status, 200)
  const [row] = await rowsOf(place)
  t.strictSame(answer.body, {
    secret_ref: place.secret_ref,
    version: 1,
    key_id: 'key-1',
    algorithm: 'AES-256-GCM',
    payload_sha256: row?.payload_sha256,
    created_at: answer.body.created_at,
    created_by: place.user_id,
  })
  t.strictSame((await metadata(place)).body, answer.body)
  t.notMatch(JSON.stringify(row), /operator|CORP|correct horse/)
  t.strictSame(row?.metadata, { protocol: 'rdp', payload_version: 1 })
  t.match((await auditOf(world, place.organization_id)).at(-1), {
    event: 'resource_secret_rotated',
    outcome: 'ok',
    actor_kind: 'user',
    actor_id: place.user_id,
    resource_id: place.resource_id,
    secret_ref: place.secret_ref,
    details: { version: 1, previous_version: 0, key_id: 'key-1' },
  })
})

t.test('a rotation makes the next version and keeps the one before for a rollback', async t => {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  t.equal((await putSecret(world, resolver, place, { expected_version: 1 })).body.version, 2)
  const [first, second, ...more] = await rowsOf(place)
  t.strictSame(more, [])
  t.ok(first?.superseded_at)
  t.equal(first?.destroyed_at, null)
  t.equal(second?.superseded_at, null)
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { version: 2, previous_version: 1 })
})

t.test('a writer that expects another version is refused', async t => {
  const place = await seedPlace(world)
  isProblem(t, await putSecret(world, resolver, place, { expected_version: 1 }), 409, 'ERR_SECRET_VERSION_CONFLICT')
  t.equal((await putSecret(world, resolver, place, { expected_version: 0 })).body.version, 1)
  const late = await putSecret(world, resolver, place, { expected_version: 0 })
  isProblem(t, late, 409, 'ERR_SECRET_VERSION_CONFLICT')
  t.equal(late.body.current_version, 1)
})

t.test('of parallel writers that saw the same version one wins and the others are told', async t => {
  const second = await world.startResolver()
  for (const expected_version of Array.from({ length: 16 }, (_, at) => (at % 2 === 0 ? undefined : 0))) {
    const place = await seedPlace(world)
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        putSecret(world, at % 2 === 0 ? resolver : second, place, {
          payload: { ...RDP_PAYLOAD, password: `password-${at}` },
          ...(expected_version !== undefined && { expected_version }),
        }),
      ),
    )
    const won = answers.filter(({ status }) => status === 200)
    const rows = await rowsOf(place)
    t.equal(rows.length, won.length, 'every success is a version of its own')
    t.equal(rows.filter(({ superseded_at }) => superseded_at === null).length, 1)
    if (expected_version === 0) t.equal(won.length, 1)
    for (const { status, body } of answers) {
      if (status !== 200) t.match({ status, code: body.code }, { status: 409, code: 'ERR_SECRET_VERSION_CONFLICT' })
    }
    const written = (await auditOf(world, place.organization_id)).filter(
      ({ event }) => event === 'resource_secret_rotated',
    )
    t.equal(written.length, won.length)
  }
})

t.test('a deleted secret is erased, its tombstone stays, and it is not resolved any more', async t => {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  await writeLease(world, place)
  isProblem(t, await remove(place, { expected_version: 2 }), 409, 'ERR_SECRET_VERSION_CONFLICT')
  const answer = await remove(place, { expected_version: 1 })
  t.equal(answer.status, 200)
  t.match(answer.body, { secret_ref: place.secret_ref, version: 1, destroyed_at: /^\d{4}-/ })
  const [row] = await rowsOf(place)
  t.equal(row?.ciphertext.length, 0)
  t.equal(row?.wrapped_data_key.length, 0)
  t.ok(row?.destroyed_at)
  isProblem(t, await metadata(place), 404, 'ERR_SECRET_NOT_FOUND')
  isProblem(t, await remove(place), 404, 'ERR_SECRET_NOT_FOUND')
  const denied = await resolve(resolver, world.worker, await leaseToken(world, place))
  isProblem(t, denied, 403, 'ERR_RESOLVE_DENIED')
  const events = await auditOf(world, place.organization_id)
  t.match(events.at(-2), { event: 'resource_secret_deleted', actor_id: place.user_id, details: { version: 1 } })
  t.match(events.at(-1)?.details, { reason: 'secret_unknown' })
  t.equal((await putSecret(world, resolver, place)).body.version, 2, 'versions are counted on')
})

t.test('two deletions of one secret are one deletion', async t => {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  const answers = await Promise.all(Array.from({ length: 6 }, () => remove(place)))
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  const events = await auditOf(world, place.organization_id)
  t.equal(events.filter(({ event }) => event === 'resource_secret_deleted').length, 1)
})

t.test('a secret of a resource that the organization does not have is refused', async t => {
  const [mine, other] = [await seedPlace(world), await seedPlace(world)]
  const jwk = await sealingKey()
  for (const mixed of [
    { ...mine, resource_id: other.resource_id },
    { ...mine, resource_id: randomUUID() },
    { ...mine, organization_id: randomUUID() },
  ]) {
    isProblem(t, await put(mixed, await seal(jwk, mixed)), 404, 'ERR_RESOURCE_NOT_FOUND')
  }
  await world.database.controlPlane`
    update rap.resources set deleted_at = now(), secret_ref = null where id = ${mine.resource_id}`
  isProblem(t, await put(mine, await seal(jwk, mine)), 404, 'ERR_RESOURCE_NOT_FOUND')
})

t.test('a blob that was sealed for another resource is refused and audited', async t => {
  const owner = await seedOrganization(world.database.controlPlane)
  const [a, b] = await Promise.all([1, 2].map(() => seedResource(world.database.controlPlane, owner)))
  const [from, to] = [
    { ...owner, resource_id: a! },
    { ...owner, resource_id: b! },
  ] as [Place, Place]
  const answer = await put(to, await seal(await sealingKey(), from))
  isProblem(t, answer, 422, 'ERR_SEALED_SECRET_MISDIRECTED')
  t.match((await auditOf(world, owner.organization_id)).at(-1), {
    event: 'resource_secret_write_refused',
    outcome: 'refused',
    code: 'ERR_SEALED_SECRET_MISDIRECTED',
    actor_kind: 'user',
    actor_id: owner.user_id,
    resource_id: b,
    details: { reason: 'misdirected' },
  })
})

t.test(
  'a sealed secret that does not open, or holds no payload of version 1, is refused, audited and changes nothing',
  async t => {
    const place = await seedPlace(world)
    await putSecret(world, resolver, place)
    const jwk = await sealingKey()
    const good = await seal(jwk, place)
    const cases: [unknown, string, string][] = [
      [`${good.slice(0, -4)}AAAA`, 'ERR_SEALED_SECRET_INVALID', 'does_not_open'],
      [good.slice(0, 200), 'ERR_SEALED_SECRET_INVALID', 'malformed'],
      ['x', 'ERR_SEALED_SECRET_INVALID', 'malformed'],
      [await seal(jwk, place, { header: { zip: 'DEF' } }), 'ERR_SEALED_SECRET_INVALID', 'header'],
      [await seal(jwk, place, { header: { kid: 'A'.repeat(43) } }), 'ERR_SEALING_KEY_UNKNOWN', 'unknown_key'],
      [
        await seal(jwk, place, { payload: { ...RDP_PAYLOAD, extra: 1 } }),
        'ERR_SECRET_PAYLOAD_INVALID',
        'unknown_field',
      ],
      [await seal(jwk, place, { payload: Buffer.alloc(8193, 0x20) }), 'ERR_SECRET_PAYLOAD_INVALID', 'too_large'],
      [
        await seal(jwk, place, { payload: { ...RDP_PAYLOAD, version: 2 } }),
        'ERR_SECRET_PAYLOAD_INVALID',
        'wrong_value',
      ],
    ]
    for (const [sealed, code, rule] of cases) {
      const answer = await put(place, sealed)
      isProblem(t, answer, 422, code)
      t.equal(answer.body.rule, rule)
      t.match((await auditOf(world, place.organization_id)).at(-1), {
        event: 'resource_secret_write_refused',
        code,
        details: { reason: rule },
      })
    }
    t.equal((await metadata(place)).body.version, 1)
  },
)

t.test('a body out of form is refused before anything is opened', async t => {
  const place = await seedPlace(world)
  const sealed = await seal(await sealingKey(), place)
  const path = secretPath(place)
  const whole = { sealed, ...order(place) }
  const send = (body: unknown, headers = {}) =>
    resolver.call(world.controlPlane, { method: 'PUT', path, body, headers })
  for (const body of [
    {},
    { ...whole, sealed: 1 },
    { ...whole, sealed: '' },
    { ...whole, sealed: 'A'.repeat(12_289) },
    { ...whole, actor_user_id: 'me' },
    { ...whole, actor_user_id: undefined },
    { ...whole, request_id: 'a b' },
    { ...whole, expected_version: -1 },
    { ...whole, expected_version: 1.5 },
    { ...whole, expected_version: '1' },
    { ...whole, payload: RDP_PAYLOAD },
    [],
    null,
  ]) {
    isProblem(t, await send(body), 400, 'ERR_VALIDATION')
  }
  const text = JSON.stringify(whole)
  for (let size = 1; size < text.length; size += 97) {
    isProblem(t, await send(text.slice(0, size)), 400, 'ERR_BODY_MALFORMED')
  }
  isProblem(t, await send(Buffer.alloc(16 * 1024 + 1, 0x20)), 413, 'ERR_BODY_TOO_LARGE')
  isProblem(t, await send('x', { 'content-type': 'text/plain' }), 415, 'ERR_UNSUPPORTED_MEDIA_TYPE')
  isProblem(t, await send('{"__proto__":{"sealed":"x"}}'), 400, 'ERR_BODY_MALFORMED')
  t.equal((await rowsOf(place)).length, 0)
})

t.test('a path out of form is refused', async t => {
  const place = await seedPlace(world)
  for (const organization_id of [
    'x',
    '..',
    '%2e%2e',
    place.organization_id.toUpperCase(),
    `${place.organization_id}0`,
  ]) {
    const answer = await metadata({ ...place, organization_id })
    t.ok(answer.status === 400 || answer.status === 404, organization_id)
  }
  const other = secretPath(place).replace('rdp-primary', 'rdp-other')
  t.equal((await resolver.call(world.controlPlane, { method: 'GET', path: other })).status, 404)
})
