import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { testKeys } from '../support/keys.ts'
import type { Place } from '../support/seed.ts'
import { auditOf, leaseToken, putSecret, resolve, seedPlace, startWorld, writeLease } from '../support/world.ts'

// Rows are edited by a superuser who has dropped every constraint: what is left is the cryptography.
const shared = randomBytes(32)
const world = await startWorld(t, { keys: testKeys(['key-1', 'key-2'], { 'key-1': shared, 'key-2': shared }) })
const resolver = await world.startResolver()
const { superuser } = world.database
const constraints = await superuser<{ conname: string }[]>`
  select conname from pg_constraint where conrelid = 'secrets.resource_secrets'::regclass and contype in ('c', 'f')`
for (const { conname } of constraints) {
  await superuser`alter table secrets.resource_secrets drop constraint ${superuser(conname)}`
}

async function ready(): Promise<Place> {
  const place = await seedPlace(world)
  t.equal((await putSecret(world, resolver, place)).status, 200)
  await writeLease(world, place)
  return place
}

async function isRefused(t: Test, place: Place, reason: string): Promise<void> {
  const answer = await resolve(resolver, world.worker, await leaseToken(world, place))
  t.equal(answer.status, 403)
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason })
}

t.test('a row that was not touched opens', async t => {
  const place = await ready()
  t.equal((await resolve(resolver, world.worker, await leaseToken(world, place))).status, 200)
})

t.test('a row that was moved to another resource or organization does not open', async t => {
  const [mine, other] = [await ready(), await ready()]
  await superuser`delete from secrets.resource_secrets where secret_ref = ${other.secret_ref}`
  await superuser`
    update secrets.resource_secrets
    set secret_ref = ${other.secret_ref}, organization_id = ${other.organization_id}, resource_id = ${other.resource_id}
    where secret_ref = ${mine.secret_ref}`
  await isRefused(t, other, 'secret_does_not_open')
  t.match(world.log.join(''), /"event":"secret_does_not_open"/, 'and an operator is told')
})

t.test('a row whose reference alone was changed is refused', async t => {
  const [mine, other] = [await ready(), await ready()]
  await superuser`delete from secrets.resource_secrets where secret_ref = ${other.secret_ref}`
  await superuser`
    update secrets.resource_secrets set secret_ref = ${other.secret_ref} where secret_ref = ${mine.secret_ref}`
  await isRefused(t, other, 'secret_ref_mismatch')
})

t.test('a row under another version or another key id does not open', async t => {
  const versioned = await ready()
  await superuser`update secrets.resource_secrets set version = 2 where secret_ref = ${versioned.secret_ref}`
  await isRefused(t, versioned, 'secret_does_not_open')
  for (const keyId of ['key-2', 'key-9']) {
    const place = await ready()
    await superuser`update secrets.resource_secrets set key_id = ${keyId} where secret_ref = ${place.secret_ref}`
    await isRefused(t, place, 'secret_does_not_open')
  }
})

t.test('a row with the content, the nonce or the key of another row does not open', async t => {
  for (const column of ['ciphertext', 'nonce', 'wrapped_data_key']) {
    const [mine, other] = [await ready(), await ready()]
    await superuser`
      update secrets.resource_secrets mine set ${superuser(column)} = other.${superuser(column)}
      from secrets.resource_secrets other
      where mine.secret_ref = ${mine.secret_ref} and other.secret_ref = ${other.secret_ref}`
    await isRefused(t, mine, 'secret_does_not_open')
  }
  const [mine, other] = [await ready(), await ready()]
  await superuser`
    update secrets.resource_secrets mine
    set ciphertext = other.ciphertext, nonce = other.nonce, wrapped_data_key = other.wrapped_data_key
    from secrets.resource_secrets other
    where mine.secret_ref = ${mine.secret_ref} and other.secret_ref = ${other.secret_ref}`
  await isRefused(t, mine, 'secret_does_not_open')
})

t.test('a row with another algorithm does not open', async t => {
  const place = await ready()
  await superuser`update secrets.resource_secrets set algorithm = 'AES-128-GCM' where secret_ref = ${place.secret_ref}`
  await isRefused(t, place, 'secret_does_not_open')
})

t.test('a tombstone that was brought back to life does not open', async t => {
  const place = await ready()
  await superuser`
    update secrets.resource_secrets set ciphertext = '', wrapped_data_key = '' where secret_ref = ${place.secret_ref}`
  await isRefused(t, place, 'secret_does_not_open')
})
