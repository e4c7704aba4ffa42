import t from 'tap'
import { SEALING_KEY_GRACE_MS, SEALING_KEY_MAX_AGE_MS } from '../../src/sealing/sealing-key.ts'
import { activeSealingJwk, eraseOldSealingKeys, privateKeyOf, type SealingDeps } from '../../src/sealing/store.ts'
import { startDatabase } from '../support/database.ts'
import { ACTIVE_KEY, isZero, testKeys, useKeys, watched } from '../support/keys.ts'

const database = await startDatabase(t, { withoutControlPlane: true })
const { resolver: sql, superuser } = database
const keys = testKeys()
await useKeys(sql, keys)
await superuser`insert into secrets.master_keys (key_id, source) values ('key-2', 'key-2')`
const START = Date.UTC(2026, 0, 1)
const at = (ms: number): SealingDeps => ({ sql, keys, now: () => new Date(START + ms) })
const rows = () =>
  superuser<{ kid: string; wrapped_private_key: Buffer; superseded_at: Date | null; destroyed_at: Date | null }[]>`
    select * from secrets.sealing_keys order by created_at`
const empty = () => superuser`delete from secrets.sealing_keys`

t.test('instances that start at the same moment publish one key', async t => {
  await empty()
  const jwks = await Promise.all(Array.from({ length: 8 }, () => activeSealingJwk(at(0))))
  t.equal(new Set(jwks.map(({ kid }) => kid)).size, 1)
  t.equal((await rows()).length, 1)
  t.match(jwks[0], { kty: 'EC', crv: 'P-256', use: 'enc', alg: 'ECDH-ES+A256KW', kid: /^[\w-]{43}$/ })
  t.strictSame(Object.keys(jwks[0]!).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
})

t.test('a key is replaced after 90 days, by one of all instances, and opens for one day more', async t => {
  await empty()
  const first = await activeSealingJwk(at(0))
  t.equal((await activeSealingJwk(at(SEALING_KEY_MAX_AGE_MS - 1))).kid, first.kid)
  const replaced = await Promise.all(Array.from({ length: 8 }, () => activeSealingJwk(at(SEALING_KEY_MAX_AGE_MS))))
  t.equal(new Set(replaced.map(({ kid }) => kid)).size, 1)
  t.not(replaced[0]?.kid, first.kid)
  t.ok(await privateKeyOf(first.kid, at(SEALING_KEY_MAX_AGE_MS + SEALING_KEY_GRACE_MS - 1)))
  t.equal(await privateKeyOf(first.kid, at(SEALING_KEY_MAX_AGE_MS + SEALING_KEY_GRACE_MS)), undefined)
  t.ok(await privateKeyOf(replaced[0]!.kid, at(SEALING_KEY_MAX_AGE_MS + SEALING_KEY_GRACE_MS)))
})

t.test('a key whose day of grace is over is erased, the active one never', async t => {
  await empty()
  await activeSealingJwk(at(0))
  await activeSealingJwk(at(SEALING_KEY_MAX_AGE_MS))
  t.equal(await eraseOldSealingKeys(at(SEALING_KEY_MAX_AGE_MS + SEALING_KEY_GRACE_MS - 1)), 0)
  t.equal(await eraseOldSealingKeys(at(SEALING_KEY_MAX_AGE_MS + SEALING_KEY_GRACE_MS)), 1)
  t.equal(await eraseOldSealingKeys(at(10 * SEALING_KEY_MAX_AGE_MS)), 0)
  const [old, active] = await rows()
  t.equal(old?.wrapped_private_key.length, 0)
  t.ok(old?.destroyed_at)
  t.ok(active!.wrapped_private_key.length > 0)
})

t.test('an unknown kid opens nothing', async t => {
  t.equal(await privateKeyOf('A'.repeat(43), at(0)), undefined)
})

t.test('a row that somebody else wrote or changed publishes nothing', async t => {
  await empty()
  const { kid } = await activeSealingJwk(at(0))
  const [row] = await rows()
  await empty()
  const insert = (change: Record<string, unknown>) => superuser`
    insert into secrets.sealing_keys ${superuser({
      kid,
      wrapped_private_key: row!.wrapped_private_key,
      key_id: 'key-1',
      created_at: new Date(START),
      ...change,
    })}`
  for (const change of [
    { kid: 'B'.repeat(43) },
    { wrapped_private_key: Buffer.concat([row!.wrapped_private_key.subarray(1), Buffer.alloc(1)]) },
    { wrapped_private_key: await keys.wrap(ACTIVE_KEY, Buffer.from('not a key'), Buffer.alloc(0)) },
    { key_id: 'key-2' },
  ]) {
    await insert(change)
    await t.rejects(activeSealingJwk(at(0)), { code: 'ERR_SEALING_KEY_UNUSABLE' })
    await empty()
  }
  await insert({})
  t.equal((await activeSealingJwk(at(0))).kid, kid)
})

t.test('the encoded private key is zero after it was made and after it was used', async t => {
  await empty()
  const watching = watched(keys)
  const deps = { ...at(0), keys: watching }
  const { kid } = await activeSealingJwk(deps)
  await privateKeyOf(kid, deps)
  t.equal(watching.seen.length, 3)
  t.ok(watching.seen.every(isZero))
})
