import t from 'tap'
import { auditOf, leaseToken, putSecret, resolve, seedPlace, startWorld, writeLease } from '../support/world.ts'

const world = await startWorld(t)
const development = await world.startResolver({ isProduction: false })
const production = await world.startResolver({ isProduction: true })
const CREDENTIALS = { username: 'dev', domain: 'LAB', password: 'smoke "test" ü' }

async function bare(metadata: object) {
  const place = await seedPlace(world, { secretRef: null, metadata })
  await writeLease(world, place)
  return place
}
const token = (place: Parameters<typeof leaseToken>[1]) => leaseToken(world, place, { claims: { secret_ref: null } })

t.test('in development a resource without a secret is resolved from its metadata on the same road', async t => {
  const place = await bare({ ...CREDENTIALS, render_quality_profile: 'balanced' })
  const lease = await token(place)
  const answer = await resolve(development, world.worker, lease)
  t.equal(answer.status, 200)
  const { payload } = await answer.open()
  t.strictSame(JSON.parse(payload), { version: 1, protocol: 'rdp', ...CREDENTIALS, rotation_version: 1 })
  t.match((await auditOf(world, place.organization_id)).at(-1), {
    event: 'resource_secret_accessed',
    secret_ref: null,
    details: { version: null, from_metadata: true },
  })
  t.equal((await resolve(development, world.worker, lease)).status, 403, 'and once only')
})

t.test('a domain is optional in metadata', async t => {
  const place = await bare({ username: 'dev', password: 'p' })
  const { payload } = await (await resolve(development, world.worker, await token(place))).open()
  t.equal(payload, '{"version":1,"protocol":"rdp","username":"dev","password":"p","rotation_version":1}')
})

t.test('in production credentials in metadata are refused', async t => {
  const place = await bare(CREDENTIALS)
  const answer = await resolve(production, world.worker, await token(place))
  t.equal(answer.body.code, 'ERR_RESOLVE_DENIED')
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'plaintext_metadata_refused' })
})

t.test('metadata that holds no credentials of the right form is refused', async t => {
  for (const metadata of [
    {},
    { username: 'dev' },
    { username: 'dev', password: 1 },
    { username: 'dev', password: ['p'] },
    { username: { a: 1 }, password: 'p' },
    { username: 'dev', password: 'p'.repeat(256) },
  ]) {
    const place = await bare(metadata)
    t.equal((await resolve(development, world.worker, await token(place))).status, 403)
    t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'metadata_credentials_invalid' })
  }
})

t.test('a resource with a reference is never resolved from its metadata', async t => {
  const place = await seedPlace(world, { metadata: CREDENTIALS })
  await writeLease(world, place)
  t.equal((await resolve(development, world.worker, await leaseToken(world, place))).status, 403)
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'secret_unknown' })
  t.equal((await resolve(development, world.worker, await token(place))).status, 403)
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'secret_ref_mismatch' })
  await putSecret(world, development, place)
  const { payload } = await (await resolve(development, world.worker, await leaseToken(world, place))).open()
  t.match(payload, /operator/)
})
