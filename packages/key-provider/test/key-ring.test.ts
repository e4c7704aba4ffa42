import { randomBytes } from 'node:crypto'
import t from 'tap'
import { KeyRing, LocalKeyProvider } from '../src/index.ts'

const CONTEXT = Buffer.from('context')
const newKey = (keyId: string) => new LocalKeyProvider({ keyId, key: randomBytes(32), provider: 'env' })

t.test('the active key wraps and every key of the ring unwraps', async t => {
  const [older, newer] = [newKey('2025'), newKey('2026')]
  const dataKey = randomBytes(32)
  const before = await new KeyRing({ active: older }).wrap(dataKey, CONTEXT)
  t.equal(before.keyId, '2025')

  const rotated = new KeyRing({ active: newer, others: [older] })
  t.equal(rotated.activeKeyId, '2026')
  t.same(await rotated.unwrap(before, CONTEXT), dataKey, 'wrapped before the rotation')
  const after = await rotated.wrap(dataKey, CONTEXT)
  t.equal(after.keyId, '2026')
  t.same(await rotated.unwrap(after, CONTEXT), dataKey)
  t.ok(rotated.has('2025'))
  t.notOk(rotated.has('2024'))
})

t.test('an unknown key id is refused, also one that names a property of every object', async t => {
  const ring = new KeyRing({ active: newKey('2026') })
  const { wrapped } = await ring.wrap(randomBytes(32), CONTEXT)
  for (const keyId of ['2025', '', '__proto__', 'constructor', 'x'.repeat(100_000)]) {
    await t.rejects(ring.unwrap({ keyId, wrapped }, CONTEXT), { code: 'ERR_KEY_UNKNOWN' }, keyId.slice(0, 20))
  }
})

t.test('a wrapped key under the id of another key of the ring does not open', async t => {
  const ring = new KeyRing({ active: newKey('2026'), others: [newKey('2025')] })
  const { wrapped } = await ring.wrap(randomBytes(32), CONTEXT)
  await t.rejects(ring.unwrap({ keyId: '2025', wrapped }, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('two keys with one id are refused', async t => {
  t.throws(() => new KeyRing({ active: newKey('2026'), others: [newKey('2026')] }), { code: 'ERR_KEY_DUPLICATE' })
})

t.test('health and descriptions cover every key, and destroy reaches all of them', async t => {
  const [active, other] = [newKey('2026'), newKey('2025')]
  const ring = new KeyRing({ active, others: [other] })
  t.equal(await ring.health(), 'ok')
  t.same(
    ring.describe().map(({ key_id }) => key_id),
    ['2026', '2025'],
  )
  other.destroy()
  t.equal(await ring.health(), '2025: destroyed')
  ring.destroy()
  await t.rejects(ring.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_DESTROYED' })
})
