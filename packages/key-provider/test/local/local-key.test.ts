import { randomBytes } from 'node:crypto'
import t from 'tap'
import { LocalKeyProvider, MAX_CONTEXT_BYTES, MAX_DATA_KEY_BYTES } from '../../src/index.ts'

const CONTEXT = Buffer.from('organization-1\0resource-1\0version-1')
const newProvider = (keyId = 'key-1', key = randomBytes(32)) => new LocalKeyProvider({ keyId, key, provider: 'env' })

t.test('a wrapped data key opens again with the same key and context', async t => {
  const provider = newProvider()
  for (const length of [1, 16, 32, 1000, MAX_DATA_KEY_BYTES]) {
    const dataKey = randomBytes(length)
    const wrapped = await provider.wrap(dataKey, CONTEXT)
    t.same(await provider.unwrap(wrapped, CONTEXT), dataKey, `${length} bytes`)
    t.equal(wrapped.length, length + 29)
  }
  const dataKey = randomBytes(32)
  const wrapped = await provider.wrap(dataKey, Buffer.alloc(0))
  t.same(await provider.unwrap(wrapped, Buffer.alloc(0)), dataKey, 'an empty context')
})

t.test('two wraps of one data key differ and do not contain it', async t => {
  const provider = newProvider()
  const dataKey = randomBytes(32)
  const [first, second] = [await provider.wrap(dataKey, CONTEXT), await provider.wrap(dataKey, CONTEXT)]
  t.notSame(first, second)
  t.notSame(first.subarray(1, 13), second.subarray(1, 13), 'nonces')
  t.notOk(first.includes(dataKey))
})

t.test('another context, another key and another key id do not open a wrapped key', async t => {
  const key = randomBytes(32)
  const provider = newProvider('key-1', Buffer.from(key))
  const wrapped = await provider.wrap(randomBytes(32), CONTEXT)
  const refused = { code: 'ERR_KEY_UNWRAP_FAILED' }
  await t.rejects(provider.unwrap(wrapped, Buffer.from('organization-1\0resource-2\0version-1')), refused)
  await t.rejects(provider.unwrap(wrapped, CONTEXT.subarray(1)), refused)
  await t.rejects(provider.unwrap(wrapped, Buffer.concat([CONTEXT, Buffer.of(0)])), refused)
  await t.rejects(newProvider('key-1').unwrap(wrapped, CONTEXT), refused)
  await t.rejects(
    newProvider('key-2', Buffer.from(key)).unwrap(wrapped, CONTEXT),
    refused,
    'the same bytes, another label',
  )
})

t.test('the boundary between key id and context cannot be moved', async t => {
  const key = randomBytes(32)
  const wrapped = await newProvider('key-1', Buffer.from(key)).wrap(randomBytes(32), Buffer.from('23'))
  await t.rejects(newProvider('key-12', Buffer.from(key)).unwrap(wrapped, Buffer.from('3')), {
    code: 'ERR_KEY_UNWRAP_FAILED',
  })
})

t.test('one changed bit anywhere in a wrapped key is refused', async t => {
  const provider = newProvider()
  const wrapped = await provider.wrap(randomBytes(32), CONTEXT)
  for (let index = 0; index < wrapped.length; index++) {
    const tampered = Buffer.from(wrapped)
    tampered.writeUInt8(tampered.readUInt8(index) ^ 0x01, index)
    await t.rejects(provider.unwrap(tampered, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' }, `byte ${index}`)
  }
})

t.test('every truncated or extended wrapped key is refused', async t => {
  const provider = newProvider()
  const wrapped = await provider.wrap(randomBytes(32), CONTEXT)
  for (let length = 0; length < wrapped.length; length++) {
    await t.rejects(
      provider.unwrap(wrapped.subarray(0, length), CONTEXT),
      { code: length < 30 ? 'ERR_KEY_INPUT_LENGTH' : 'ERR_KEY_UNWRAP_FAILED' },
      `${length} bytes`,
    )
  }
  await t.rejects(provider.unwrap(Buffer.concat([wrapped, Buffer.of(0)]), CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('inputs beyond their limits are refused before they are used', async t => {
  const provider = newProvider()
  const tooLong = { code: 'ERR_KEY_INPUT_LENGTH' }
  await t.rejects(provider.wrap(Buffer.alloc(0), CONTEXT), tooLong)
  await t.rejects(provider.wrap(Buffer.alloc(MAX_DATA_KEY_BYTES + 1), CONTEXT), tooLong)
  await t.rejects(provider.wrap(randomBytes(32), Buffer.alloc(MAX_CONTEXT_BYTES + 1)), tooLong)
  await t.rejects(provider.unwrap(Buffer.alloc(MAX_DATA_KEY_BYTES + 30), CONTEXT), tooLong)
  await t.resolves(provider.wrap(randomBytes(32), Buffer.alloc(MAX_CONTEXT_BYTES)))
})

t.test('a key of another length, of one repeated byte or with a label out of form is refused', async t => {
  for (const length of [0, 16, 31, 33, 64]) {
    t.throws(() => newProvider('key-1', randomBytes(length)), { code: 'ERR_KEY_LENGTH', facts: { received: length } })
  }
  t.throws(() => newProvider('key-1', Buffer.alloc(32)), { code: 'ERR_KEY_WEAK' })
  t.throws(() => newProvider('key-1', Buffer.alloc(32, 0x61)), { code: 'ERR_KEY_WEAK' })
  for (const keyId of ['', '-key', 'key 1', 'key\n', 'schlüssel', 'k'.repeat(129), '../key', '__proto__']) {
    t.throws(() => newProvider(keyId), { code: 'ERR_KEY_ID_INVALID' }, JSON.stringify(keyId))
  }
  t.doesNotThrow(() => newProvider('k'.repeat(128)))
})

t.test('a destroyed key is zero in memory and refuses all work', async t => {
  const key = randomBytes(32)
  const provider = newProvider('key-1', key)
  const wrapped = await provider.wrap(randomBytes(32), CONTEXT)
  t.equal(await provider.health(), 'ok')
  provider.destroy()
  t.same(key, Buffer.alloc(32))
  t.equal(await provider.health(), 'destroyed')
  await t.rejects(provider.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  await t.rejects(provider.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_DESTROYED' })
})

t.test('a description names the key and holds no material', async t => {
  const key = randomBytes(32)
  const provider = newProvider('key-1', key)
  t.same(provider.describe(), { key_id: 'key-1', provider: 'env', algorithm: 'AES-256-GCM' })
  t.notOk(JSON.stringify(provider).includes(key.toString('base64')))
})
