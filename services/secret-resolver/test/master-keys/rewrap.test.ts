import { KeyProviderError } from '@rap/key-provider'
import t from 'tap'
import { planRewrap, type RewrapProgress, rewrap } from '../../src/master-keys/rewrap.ts'
import { verifyRows } from '../../src/master-keys/verify.ts'
import { activeSealingJwk, privateKeyOf } from '../../src/sealing/store.ts'
import { startDatabase } from '../support/database.ts'
import { countByKey, keepSecrets, lostOf } from '../support/keep.ts'
import { testKeys, useKeys, watched, withKeys } from '../support/keys.ts'

const { resolver: sql, superuser } = await startDatabase(t)
const keys = testKeys(['key-1', 'key-2', 'key-3'])
await useKeys(sql, keys, 'key-1')

/** Makes a key active as a rotation does, without its rules. */
async function activate(keyId: string): Promise<void> {
  await sql`update secrets.master_keys set state = 'available' where state = 'active'`
  await sql`update secrets.master_keys set state = 'active', activated_at = now() where key_id = ${keyId}`
}

/** An empty store with so many secrets under key-1, and key-2 active. */
async function stored(count: number) {
  await superuser`delete from secrets.resource_secrets`
  await superuser`delete from secrets.sealing_keys`
  await activate('key-1')
  const kept = await keepSecrets(sql, keys, { count })
  await activate('key-2')
  return kept
}

t.test('everything that another key has wrapped is wrapped with the active one, and opens as before', async t => {
  const kept = await stored(150)
  await activate('key-1')
  const deps = { sql, keys, now: () => new Date() }
  const { kid } = await activeSealingJwk(deps)
  await activate('key-2')
  const before =
    await sql`select secret_ref, ciphertext, nonce, payload_sha256, sealed_key_id from secrets.resource_secrets order by 1`
  const progress: RewrapProgress[] = []
  const result = await rewrap({ sql, keys, onProgress: state => progress.push(state) })
  t.strictSame(result, { to_key_id: 'key-2', rewrapped: 151, failed: 0, failures: [] })
  t.strictSame(await countByKey(sql), { 'key-2': 150 })
  t.strictSame(await lostOf(sql, keys, kept), [])
  t.ok(await privateKeyOf(kid, deps), 'sealing keys too')
  t.strictSame(
    await sql`select secret_ref, ciphertext, nonce, payload_sha256, sealed_key_id from secrets.resource_secrets order by 1`,
    before,
    'the contents were not touched',
  )
  t.match(progress.at(0), { total: 151, remaining: 151 })
  t.match(progress.at(-1), { total: 151, remaining: 0, failed: 0, secondsLeft: 0 })
  t.ok(progress.at(-1)!.rate > 0)
  t.strictSame(await rewrap({ sql, keys }), { to_key_id: 'key-2', rewrapped: 0, failed: 0, failures: [] })
})

t.test('superseded versions are wrapped again, destroyed ones are left alone', async t => {
  await stored(2)
  await superuser`update secrets.resource_secrets set superseded_at = now()`
  const [row] = await superuser`
    update secrets.resource_secrets set ciphertext = '', wrapped_data_key = '', destroyed_at = now()
    where secret_ref = (select min(secret_ref) from secrets.resource_secrets) returning secret_ref`
  t.equal((await rewrap({ sql, keys })).rewrapped, 1)
  const [destroyed] = await sql`select key_id from secrets.resource_secrets where secret_ref = ${row?.secret_ref}`
  t.equal(destroyed?.key_id, 'key-1')
})

t.test('runners at once share the rows, and none is wrapped twice', async t => {
  const kept = await stored(400)
  const results = await Promise.all(Array.from({ length: 4 }, () => rewrap({ sql, keys })))
  t.equal(
    results.reduce((sum, { rewrapped }) => sum + rewrapped, 0),
    400,
  )
  t.ok(results.filter(({ rewrapped }) => rewrapped > 0).length > 1, 'more than one did some of it')
  t.strictSame(await lostOf(sql, keys, kept), [])
})

t.test('a plan says what would be done and changes nothing', async t => {
  await stored(3)
  t.strictSame(await planRewrap(sql), { to_key_id: 'key-2', from: [{ key_id: 'key-1', rows: 3 }], total: 3 })
  t.strictSame(await planRewrap(sql, ['key-3']), { to_key_id: 'key-2', from: [], total: 0 })
  t.strictSame(await countByKey(sql), { 'key-1': 3 })
})

t.test('only the keys that are named are left behind', async t => {
  await stored(3)
  await activate('key-3')
  await keepSecrets(sql, keys, { count: 2, keyId: 'key-3' })
  await activate('key-2')
  t.equal((await rewrap({ sql, keys, fromKeyIds: ['key-3'] })).rewrapped, 2)
  t.strictSame(await countByKey(sql), { 'key-1': 3, 'key-2': 2 })
})

t.test('a row that does not open is named and left, and the others are done', async t => {
  const kept = await stored(70)
  const broken = kept[33]!.secretRef
  await superuser`
    update secrets.resource_secrets set wrapped_data_key = decode(repeat('00', 61), 'hex') where secret_ref = ${broken}`
  const result = await rewrap({ sql, keys })
  t.strictSame(result, {
    to_key_id: 'key-2',
    rewrapped: 69,
    failed: 1,
    failures: [{ row: `${broken}#1`, key_id: 'key-1', code: 'ERR_KEY_UNWRAP_FAILED' }],
  })
  t.strictSame(await countByKey(sql), { 'key-1': 1, 'key-2': 69 })
  const verified = await verifyRows({ sql, keys })
  t.equal(verified.checked, 70)
  t.strictSame(verified.failures, [{ row: `${broken}#1`, key_id: 'key-1', code: 'ERR_KEY_UNWRAP_FAILED' }])
})

t.test('rows of a lost key are named, and nothing waits for them', async t => {
  await stored(5)
  const without = testKeys(['key-2', 'key-3'])
  const result = await rewrap({ sql, keys: without })
  t.match(result, { rewrapped: 0, failed: 5, failures: [{ code: 'ERR_KEY_UNKNOWN', key_id: 'key-1' }] })
})

t.test('a runner without the active key does nothing, and says which key it lacks', async t => {
  await stored(3)
  const without = testKeys(['key-1'])
  await t.rejects(rewrap({ sql, keys: without }), { code: 'ERR_KEY_UNKNOWN', facts: { key_id: 'key-2' } })
  t.strictSame(await countByKey(sql), { 'key-1': 3 })
})

t.test('a runner that is stopped has done whole batches, and the next one does the rest', async t => {
  const kept = await stored(300)
  const stopping = new AbortController()
  let calls = 0
  const counting = withKeys(keys, {
    rewrap: async (...args) => {
      if (++calls === 100) stopping.abort(new Error('stopped'))
      return await keys.rewrap(...args)
    },
  })
  await t.rejects(rewrap({ sql, keys: counting, signal: stopping.signal }), { message: 'stopped' })
  const left = (await countByKey(sql))['key-1'] ?? 0
  t.ok(left > 0 && left < 300, `${left} are left`)
  t.strictSame(await lostOf(sql, keys, kept), [])
  t.equal((await rewrap({ sql, keys })).rewrapped, left)
  t.strictSame(await lostOf(sql, keys, kept), [])
})

t.test('a provider that does not answer for a moment is asked again', async t => {
  await stored(10)
  let calls = 0
  const flaky = withKeys(keys, {
    rewrap: async (...args) => {
      if (++calls === 3) throw new KeyProviderError('ERR_KEY_UNAVAILABLE', 'sealed')
      return await keys.rewrap(...args)
    },
  })
  t.equal((await rewrap({ sql, keys: flaky })).rewrapped, 10)
})

t.test('a provider that refuses ends it with its own word', async t => {
  await stored(3)
  const refusing = withKeys(keys, {
    rewrap: async () => {
      throw new KeyProviderError('ERR_KEY_FORBIDDEN', 'no')
    },
  })
  await t.rejects(rewrap({ sql, keys: refusing }), { code: 'ERR_KEY_FORBIDDEN' })
  t.strictSame(await countByKey(sql), { 'key-1': 3 })
})

t.test('a rotation in the middle ends it, and nothing is wrapped with a key that is not active', async t => {
  await stored(200)
  let calls = 0
  const rotating = withKeys(keys, {
    rewrap: async (...args) => {
      if (++calls === 80) await activate('key-3')
      return await keys.rewrap(...args)
    },
  })
  await t.rejects(rewrap({ sql, keys: rotating }), { code: 'ERR_MASTER_KEY_CHANGED' })
  await rewrap({ sql, keys })
  t.strictSame(await countByKey(sql), { 'key-3': 200 })
})

t.test('no data key is left in memory that was handed out', async t => {
  await stored(5)
  const watching = watched(keys)
  // Through unwrap and wrap, as between two providers.
  const apart = withKeys(watching, {
    rewrap: async (wrapped, toKeyId, context) => {
      const dataKey = await watching.unwrap(wrapped, context)
      try {
        return await watching.wrap(toKeyId, dataKey, context)
      } finally {
        dataKey.fill(0)
      }
    },
  })
  await rewrap({ sql, keys: apart })
  t.equal(watching.seen.length, 10)
  t.ok(watching.seen.every(dataKey => dataKey.every(byte => byte === 0)))
})

t.test('rows that are moved or changed by hand are found by the verification', async t => {
  const kept = await stored(4)
  const [moved, flipped] = [kept[0]!.secretRef, kept[1]!.secretRef]
  await superuser`alter table secrets.resource_secrets drop constraint resource_secrets_ref_names_row`
  await superuser`update secrets.resource_secrets set version = 7 where secret_ref = ${moved}`
  await superuser`
    update secrets.resource_secrets set ciphertext = set_byte(ciphertext, 3, get_byte(ciphertext, 3) # 1)
    where secret_ref = ${flipped}`
  const { checked, failures } = await verifyRows({ sql, keys })
  t.equal(checked, 4)
  t.strictSame(
    failures.map(({ row, code }) => [row, code]).sort(),
    [
      [`${flipped}#1`, 'ERR_CIPHERTEXT_CHANGED'],
      [`${moved}#7`, 'ERR_KEY_UNWRAP_FAILED'],
    ].sort(),
  )
})
