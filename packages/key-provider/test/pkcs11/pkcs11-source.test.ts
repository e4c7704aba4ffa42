import { randomBytes } from 'node:crypto'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { KeyRing } from '../../src/index.ts'
import { Pkcs11SourceOptions } from '../../src/pkcs11/index.ts'
import { keyOf } from '../support/key-of.ts'
import { create, makeKey, openSource, optionsOf, softHsm } from './hsm.ts'

const CONTEXT = Buffer.from('context')
const hsm = await softHsm(t)
const token = await hsm.addToken('RAP production')
await makeKey(hsm, token, 'rap-2026', 'AES:32', '--sensitive')

// While a source is open its threads are, so that not every test has to start them.
await openSource(t, optionsOf(hsm, token, { name: 'keeper' }))

t.test('a data key of any size opens with the same context, and never with another one', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token)))
  const bytes = (min: number, max: number) =>
    fc.uint8Array({ minLength: min, maxLength: max }).map(array => Buffer.from(array))
  await fc.assert(
    fc.asyncProperty(bytes(1, 4096), bytes(0, 4096), bytes(0, 4096), async (dataKey, context, other) => {
      const before = Buffer.from(dataKey)
      const wrapped = await key.wrap(dataKey, context)
      t.ok(dataKey.equals(before), 'the data key stays its owner’s')
      t.ok((await key.unwrap(wrapped, context)).equals(dataKey))
      if (!context.equals(other)) await t.rejects(key.unwrap(wrapped, other), { code: 'ERR_KEY_UNWRAP_FAILED' })
    }),
    { numRuns: 20 },
  )
})

t.test('every changed byte of a wrapped key keeps it closed, and the token stays in use', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token)))
  const dataKey = randomBytes(32)
  const wrapped = await key.wrap(dataKey, CONTEXT)
  t.equal(wrapped.length, 1 + 12 + 32 + 16)
  for (let at = 0; at < wrapped.length; at++) {
    const changed = Buffer.from(wrapped)
    changed[at] = (changed[at] ?? 0) ^ 1
    await t.rejects(
      key.unwrap(changed, CONTEXT),
      { code: 'ERR_KEY_UNWRAP_FAILED', facts: { key_id: 'hsm-1' } },
      `${at}`,
    )
  }
  t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
})

t.test('what was wrapped under one key id does not open under another id of the same key', async t => {
  const [one, two] = [
    await openSource(t, optionsOf(hsm, token)),
    await openSource(t, optionsOf(hsm, token, { name: 'hsm-2' })),
  ]
  const wrapped = await keyOf(one).wrap(randomBytes(32), CONTEXT)
  await t.rejects(keyOf(two).unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('what another key of the token has wrapped does not open', async t => {
  const one = await openSource(t, optionsOf(hsm, token))
  const other = await openSource(t, optionsOf(hsm, token, { key_label: 'another key' }))
  t.equal(await create(other), 'hsm-1')
  const wrapped = await keyOf(one).wrap(randomBytes(32), CONTEXT)
  await t.rejects(keyOf(other).unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('a created key is sensitive, never extractable, for data alone, and is not created twice', async t => {
  const source = await openSource(t, optionsOf(hsm, token, { key_label: 'created' }))
  t.match(await source.health(), /no AES key with this label/)
  t.equal(await create(source), 'hsm-1')
  t.equal(await source.newestKeyId(), 'hsm-1')
  t.equal(await source.health(), 'ok')
  const listed = await hsm.tool(token, '--list-objects', '--type', 'secrkey', '--label', 'created')
  t.match(listed, /AES length 32/)
  t.match(listed, /Usage: +encrypt, decrypt\n/)
  t.match(listed, /Access: +sensitive, always sensitive, never extractable, local/)
  await t.rejects(create(source), { code: 'ERR_KEY_EXISTS' })
})

t.test('sizes out of bounds are refused before the token is asked', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token)))
  const refused = { code: 'ERR_KEY_INPUT_LENGTH' }
  await t.rejects(key.wrap(Buffer.alloc(0), CONTEXT), refused)
  await t.rejects(key.wrap(Buffer.alloc(4097), CONTEXT), refused)
  await t.rejects(key.wrap(Buffer.alloc(32), Buffer.alloc(4097)), refused)
  await t.rejects(key.unwrap(Buffer.alloc(29), CONTEXT), refused)
  await t.rejects(key.unwrap(Buffer.alloc(29 + 4097), CONTEXT), refused)
  await t.rejects(key.unwrap(Buffer.alloc(61, 1), Buffer.alloc(4097)), refused)
})

t.test('200 wraps and unwraps at once all come out right', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token)))
  const dataKeys = Array.from({ length: 200 }, () => randomBytes(32))
  const wrapped = await Promise.all(dataKeys.map((dataKey, at) => key.wrap(dataKey, Buffer.from(`row ${at}`))))
  t.equal(new Set(wrapped.map(bytes => bytes.toString('hex', 1, 13))).size, 200, 'no nonce twice')
  const opened = await Promise.all(wrapped.map((bytes, at) => key.unwrap(bytes, Buffer.from(`row ${at}`))))
  t.ok(opened.every((dataKey, at) => dataKey.equals(dataKeys[at] ?? Buffer.alloc(0))))
})

t.test('calls beyond what may wait are refused at once, and the others come out right', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token, { timeout_ms: 60_000 })))
  const results = await Promise.allSettled(Array.from({ length: 1_200 }, () => key.wrap(Buffer.alloc(32, 1), CONTEXT)))
  const refused = results.filter(result => result.status === 'rejected').map(({ reason }) => reason)
  t.ok(refused.length > 0 && refused.length <= 200, `${refused.length} refused`)
  t.ok(refused.every(({ code, facts }) => code === 'ERR_KEY_UNAVAILABLE' && facts.reason === 'busy'))
})

t.test('a ring generates data keys and wraps them again from one key of the token to another', async t => {
  const older = await openSource(t, optionsOf(hsm, token, { name: 'older' }))
  const newer = await openSource(t, optionsOf(hsm, token, { name: 'newer', key_label: 'rap-2027' }))
  await create(newer)
  const ring = new KeyRing([older, newer])
  const { dataKey, wrapped } = await ring.generateDataKey('older', CONTEXT)
  const again = await ring.rewrap({ keyId: 'older', wrapped }, 'newer', CONTEXT)
  t.same(await ring.unwrap({ keyId: 'newer', wrapped: again }, CONTEXT), dataKey)
  t.equal(await ring.health(), 'ok')
})

t.test('a description says where the key is', async t => {
  const source = await openSource(t, optionsOf(hsm, token))
  t.same(keyOf(source).describe(), {
    key_id: 'hsm-1',
    provider: 'pkcs11',
    algorithm: 'AES-256-GCM',
    location: 'token RAP production, key rap-2026',
  })
  t.equal(source.key('hsm-2'), undefined)
})

t.test('a destroyed source refuses everything; another one of the same token goes on', async t => {
  const [leaving, staying] = [await openSource(t, optionsOf(hsm, token)), await openSource(t, optionsOf(hsm, token))]
  const wrapped = await keyOf(leaving).wrap(randomBytes(32), CONTEXT)
  const underWay = keyOf(leaving).unwrap(wrapped, CONTEXT)
  leaving.destroy()
  leaving.destroy()
  await underWay.catch(error => t.equal(error.code, 'ERR_KEY_DESTROYED'))
  await t.rejects(keyOf(leaving).unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  await t.rejects(keyOf(leaving).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  t.equal(await leaving.health(), 'destroyed')
  t.equal((await keyOf(staying).unwrap(wrapped, CONTEXT)).length, 32)
})

t.test('options are closed and bounded', async t => {
  const good = optionsOf(hsm, token)
  t.ok(Value.Check(Pkcs11SourceOptions, good))
  t.ok(Value.Check(Pkcs11SourceOptions, { ...good, timeout_ms: 60_000 }))
  const changes: Record<string, unknown>[] = [
    { pin: '1234' },
    { slot: 0 },
    { provider: 'vault' },
    { name: '' },
    { name: 'a:v1' },
    { name: `a${'b'.repeat(64)}` },
    { module: 'libsofthsm2.so' },
    { module: '/lib/\0' },
    { token_label: 'x'.repeat(33) },
    { token_label: ' padded ' },
    { key_label: '' },
    { key_label: 'x'.repeat(129) },
    { pin_file: 'pin' },
    { timeout_ms: 0 },
    { timeout_ms: 60_001 },
  ]
  for (const change of changes)
    t.notOk(Value.Check(Pkcs11SourceOptions, { ...good, ...change }), JSON.stringify(change))
})
