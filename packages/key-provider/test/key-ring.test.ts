import { randomBytes } from 'node:crypto'
import t from 'tap'
import { DATA_KEY_BYTES, type KeyProvider, KeyRing, LocalKeyProvider, singleKeySource } from '../src/index.ts'

const CONTEXT = Buffer.from('context')
const newKey = (keyId: string) => new LocalKeyProvider({ keyId, key: randomBytes(32), provider: 'env' })
const ringOf = (...keys: KeyProvider[]) => new KeyRing(keys.map(singleKeySource))

t.test('every key of the ring wraps and unwraps, found by its id', async t => {
  const ring = ringOf(newKey('2025'), newKey('2026'))
  const dataKey = randomBytes(32)
  for (const keyId of ['2025', '2026']) {
    const wrapped = await ring.wrap(keyId, dataKey, CONTEXT)
    t.same(await ring.unwrap({ keyId, wrapped }, CONTEXT), dataKey)
  }
  t.ok(ring.has('2025'))
  t.notOk(ring.has('2024'))
})

t.test('an unknown key id is refused, also one that names a property of every object', async t => {
  const ring = ringOf(newKey('2026'))
  const wrapped = await ring.wrap('2026', randomBytes(32), CONTEXT)
  for (const keyId of ['2025', '', '__proto__', 'constructor', 'x'.repeat(100_000)]) {
    await t.rejects(ring.unwrap({ keyId, wrapped }, CONTEXT), { code: 'ERR_KEY_UNKNOWN' }, keyId.slice(0, 20))
  }
})

t.test('a wrapped key under the id of another key of the ring does not open', async t => {
  const ring = ringOf(newKey('2026'), newKey('2025'))
  const wrapped = await ring.wrap('2026', randomBytes(32), CONTEXT)
  await t.rejects(ring.unwrap({ keyId: '2025', wrapped }, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('two sources with one name are refused', async t => {
  t.throws(() => ringOf(newKey('2026'), newKey('2026')), { code: 'ERR_KEY_DUPLICATE' })
})

t.test('a generated data key is fresh, of 256 bits, and zero where it could not be wrapped', async t => {
  const seen: Buffer[] = []
  const key = newKey('2026')
  const watched: KeyProvider = {
    keyId: key.keyId,
    wrap: async dataKey => {
      seen.push(dataKey)
      return await key.wrap(dataKey, CONTEXT)
    },
    unwrap: (wrapped, context) => key.unwrap(wrapped, context),
    describe: () => key.describe(),
    health: () => key.health(),
    destroy: () => key.destroy(),
  }
  const ring = ringOf(watched)
  const [first, second] = [await ring.generateDataKey('2026', CONTEXT), await ring.generateDataKey('2026', CONTEXT)]
  t.equal(first.dataKey.length, DATA_KEY_BYTES)
  t.notSame(first.dataKey, second.dataKey)
  t.same(await ring.unwrap({ keyId: '2026', wrapped: first.wrapped }, CONTEXT), first.dataKey)
  key.destroy()
  await t.rejects(ring.generateDataKey('2026', CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  t.ok(seen.at(-1)?.every(byte => byte === 0))
})

t.test('a re-wrap opens under the new key alone, and leaves no data key behind', async t => {
  const [older, newer] = [newKey('2025'), newKey('2026')]
  const seen: Buffer[] = []
  const unwrap = older.unwrap.bind(older)
  older.unwrap = async (wrapped, context) => {
    const dataKey = await unwrap(wrapped, context)
    seen.push(dataKey)
    return dataKey
  }
  const ring = ringOf(older, newer)
  const { dataKey, wrapped } = await ring.generateDataKey('2025', CONTEXT)
  const again = await ring.rewrap({ keyId: '2025', wrapped }, '2026', CONTEXT)
  t.ok(seen[0]?.every(byte => byte === 0))
  t.same(await ring.unwrap({ keyId: '2026', wrapped: again }, CONTEXT), dataKey)
  await t.rejects(ring.unwrap({ keyId: '2025', wrapped: again }, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
  await t.rejects(ring.rewrap({ keyId: '2025', wrapped }, '2026', Buffer.from('elsewhere')), {
    code: 'ERR_KEY_UNWRAP_FAILED',
  })
})

t.test('sources that are left out on a replacement are destroyed, and those that stay are not', async t => {
  const [staying, leaving, coming] = ['stays', 'leaves', 'comes'].map(id => singleKeySource(newKey(id))) as [
    ReturnType<typeof singleKeySource>,
    ReturnType<typeof singleKeySource>,
    ReturnType<typeof singleKeySource>,
  ]
  const ring = new KeyRing([staying, leaving])
  ring.replaceSources([staying, coming])
  t.equal(await staying.health(), 'ok')
  t.equal(await leaving.health(), 'destroyed')
  t.ok(ring.has('comes'))
  t.notOk(ring.has('leaves'))
})

t.test('health covers every source, and destroy reaches all of them', async t => {
  const [active, other] = [newKey('2026'), newKey('2025')]
  const ring = ringOf(active, other)
  t.equal(await ring.health(), 'ok')
  other.destroy()
  t.equal(await ring.health(), '2025: destroyed')
  ring.destroy()
  await t.rejects(ring.wrap('2026', randomBytes(32), CONTEXT), { code: 'ERR_KEY_DESTROYED' })
})
