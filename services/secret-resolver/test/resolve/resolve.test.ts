import t from 'tap'
import { withKeys } from '../support/keys.ts'
import { auditOf, leaseToken, putSecret, resolve, seedPlace, startWorld, writeLease } from '../support/world.ts'

const world = await startWorld(t)
const resolver = await world.startResolver()

t.test('a worker with a live lease gets the secret, sealed to its fresh key', async t => {
  const place = await seedPlace(world)
  t.equal((await putSecret(world, resolver, place)).status, 200)
  await writeLease(world, place)
  const token = await leaseToken(world, place, { jti: 'jti-0123456789abcdef' })
  const answer = await resolve(resolver, world.worker, token)
  t.equal(answer.status, 200)
  t.strictSame(Object.keys(answer.body), ['jwe'])
  const { header, payload } = await answer.open()
  t.match(header, { alg: 'ECDH-ES', enc: 'A256GCM', typ: 'rap-credential+jwe' })
  t.equal(Buffer.from(header.apv as string, 'base64url').toString(), 'jti-0123456789abcdef')
  t.equal(
    payload,
    '{"version":1,"protocol":"rdp","username":"operator","domain":"CORP","password":"correct horse","rotation_version":1}',
  )
  const events = await auditOf(world, place.organization_id)
  t.match(events.at(-1), {
    event: 'resource_secret_accessed',
    outcome: 'ok',
    actor_kind: 'worker',
    actor_id: world.worker.id,
    session_id: place.session_id,
    secret_ref: place.secret_ref,
    details: { version: 1, lease_id: place.lease_id, from_metadata: false },
  })
})

t.test('the worker gets the version in force, byte for byte as it was stored', async t => {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  const written = '{"password":"a\\u0062\\"\u{1f511}","version":1,"username":"u","protocol":"rdp"}'
  t.equal((await putSecret(world, resolver, place, { payload: Buffer.from(written) })).body.version, 2)
  await writeLease(world, place)
  const answer = await resolve(resolver, world.worker, await leaseToken(world, place))
  t.equal(
    (await answer.open()).payload,
    '{"version":1,"protocol":"rdp","username":"u","password":"a\\u0062\\"\u{1f511}","rotation_version":2}',
  )
})

t.test('of 20 parallel resolves with one lease token exactly one wins', async t => {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  const second = await world.startResolver()
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) => resolve(at % 2 === 0 ? resolver : second, world.worker, token)),
  )
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal(answers.filter(({ status }) => status === 403).length, 19)
  const events = await auditOf(world, place.organization_id)
  t.equal(events.filter(({ event }) => event === 'resource_secret_accessed').length, 1)
  const denied = events.filter(({ event }) => event === 'resource_secret_access_denied')
  t.equal(denied.length, 19)
  t.ok(denied.every(({ details }) => details.reason === 'lease_token_replayed'))
})

t.test('a used lease token is refused after a restart of the resolver and after Redis was emptied', async t => {
  const place = await seedPlace(world)
  const first = await world.startResolver()
  await putSecret(world, first, place)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  t.equal((await resolve(first, world.worker, token)).status, 200)
  await first.close()
  await world.redis.flushall()
  await writeLease(world, place)
  const restarted = await world.startResolver()
  t.equal((await resolve(restarted, world.worker, token)).status, 403)
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'lease_token_replayed' })
  const fresh = await resolve(restarted, world.worker, await leaseToken(world, place))
  t.equal(fresh.status, 200, 'a new token of the same lease is not')
})

t.test('a part that does not answer spends no token', async t => {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  await writeLease(world, place)
  const token = await leaseToken(world, place)
  const away = await world.startResolver({
    keys: withKeys(world.keys, {
      unwrap: async () => {
        throw new Error('provider is away')
      },
    }),
  })
  const failed = await resolve(away, world.worker, token)
  t.equal(failed.status, 500)
  t.equal(failed.body.code, 'ERR_INTERNAL')
  t.equal((await resolve(resolver, world.worker, token)).status, 200)
})
