import { createHash, randomBytes } from 'node:crypto'
import { waitFor } from '@rap/testkit'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { KeyRing } from '../../src/index.ts'
import { keyOf } from '../support/key-of.ts'
import { AwsKmsSourceOptions, generate, kmsServer, openSource } from './kms.ts'

const CONTEXT = Buffer.from('context')
const kms = await kmsServer(t, { temporaryCredentials: true })

t.test('a data key of any size opens with the same context, and never with another one', async t => {
  const key = keyOf(await openSource(t, kms))
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

t.test('a generated data key is fresh, of 256 bits, and made by KMS', async t => {
  const key = keyOf(await openSource(t, kms))
  const [first, second] = [await generate(key, CONTEXT), await generate(key, CONTEXT)]
  t.equal(first.dataKey.length, 32)
  t.notSame(first.dataKey, second.dataKey)
  t.same(await key.unwrap(first.wrapped, CONTEXT), first.dataKey)
  const sent = kms.requests.map(({ raw }) => raw).join('\n')
  t.notOk(sent.includes(first.dataKey.toString('base64')), 'it is in no request')
})

t.test('what was wrapped for one source does not open for another, of the same key or of another one', async t => {
  const arn = kms.createKey()
  const one = keyOf(await openSource(t, kms, { key_arn: arn }))
  const wrapped = await one.wrap(randomBytes(32), CONTEXT)
  const sameKey = keyOf(await openSource(t, kms, { key_arn: arn, name: 'kms-2' }))
  await t.rejects(sameKey.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED', facts: { key_id: 'kms-2' } })
  const otherKey = keyOf(await openSource(t, kms))
  await t.rejects(otherKey.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('every changed byte of a wrapped key keeps it closed', async t => {
  const key = keyOf(await openSource(t, kms))
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  for (let at = 0; at < wrapped.length; at++) {
    const changed = Buffer.from(wrapped)
    changed[at] = (changed[at] ?? 0) ^ 1
    const error = await key.unwrap(changed, CONTEXT).catch(error => error)
    // KMS calls a blob that names a key of nobody a matter of access.
    t.match(error.code, /^ERR_KEY_(UNWRAP_FAILED|FORBIDDEN)$/, `${at}`)
  }
})

t.test('each call names the key and the context’s digest, and never the context', async t => {
  const arn = kms.createKey()
  const key = keyOf(await openSource(t, kms, { key_arn: arn }))
  const context = Buffer.from('organization 42, resource 7')
  const before = kms.requests.length
  await key.unwrap(await key.wrap(randomBytes(32), context), context)
  await generate(key, context)
  const [describe, ...calls] = kms.requests.slice(before)
  t.match(describe, { operation: 'DescribeKey', input: { KeyId: arn } })
  t.same(
    calls.map(({ operation }) => operation),
    ['Encrypt', 'Decrypt', 'GenerateDataKey'],
  )
  const digest = createHash('sha256').update(context).digest('hex')
  for (const { input, raw } of calls) {
    t.match(input, { KeyId: arn, EncryptionContext: { 'rap:key': 'kms-1', 'rap:context': digest } })
    t.notOk(raw.includes('organization 42'))
  }
})

t.test('what an older key material of KMS has wrapped stays open after its rotation', async t => {
  const arn = kms.createKey()
  const key = keyOf(await openSource(t, kms, { key_arn: arn }))
  const dataKey = randomBytes(32)
  const wrapped = await key.wrap(dataKey, CONTEXT)
  kms.rotate(arn)
  t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
  t.same(await key.unwrap(await key.wrap(dataKey, CONTEXT), CONTEXT), dataKey)
})

t.test('a ring wraps again from one key of KMS to another', async t => {
  const ring = new KeyRing([await openSource(t, kms, { name: 'older' }), await openSource(t, kms, { name: 'newer' })])
  const { dataKey, wrapped } = await ring.generateDataKey('older', CONTEXT)
  const again = await ring.rewrap({ keyId: 'older', wrapped }, 'newer', CONTEXT)
  t.same(await ring.unwrap({ keyId: 'newer', wrapped: again }, CONTEXT), dataKey)
  t.equal(await ring.health(), 'ok')
})

t.test('200 wraps and unwraps at once all come out right, after one look at the key', async t => {
  const key = keyOf(await openSource(t, kms))
  const before = kms.requests.length
  const dataKeys = Array.from({ length: 200 }, () => randomBytes(32))
  const wrapped = await Promise.all(dataKeys.map((dataKey, at) => key.wrap(dataKey, Buffer.from(`row ${at}`))))
  const opened = await Promise.all(wrapped.map((bytes, at) => key.unwrap(bytes, Buffer.from(`row ${at}`))))
  t.ok(opened.every((dataKey, at) => dataKey.equals(dataKeys[at] ?? Buffer.alloc(0))))
  const looks = kms.requests.slice(before).filter(({ operation }) => operation === 'DescribeKey')
  t.equal(looks.length, 1)
})

t.test('sizes out of bounds are refused before KMS is asked', async t => {
  const key = keyOf(await openSource(t, kms))
  const before = kms.requests.length
  const refused = { code: 'ERR_KEY_INPUT_LENGTH' }
  await t.rejects(key.wrap(Buffer.alloc(0), CONTEXT), refused)
  await t.rejects(key.wrap(Buffer.alloc(4097), CONTEXT), refused)
  await t.rejects(key.wrap(Buffer.alloc(32), Buffer.alloc(4097)), refused)
  await t.rejects(generate(key, Buffer.alloc(4097)), refused)
  await t.rejects(key.unwrap(Buffer.alloc(0), CONTEXT), refused)
  await t.rejects(key.unwrap(Buffer.alloc(6145), CONTEXT), refused)
  t.equal(kms.requests.length, before)
})

t.test('a key is made and rotated with the cloud’s own tools', async t => {
  const arn = kms.createKey()
  const source = await openSource(t, kms, { key_arn: arn })
  t.equal(source.create, undefined)
  t.equal(source.rotate, undefined)
  t.equal(await source.newestKeyId(), 'kms-1')
  t.equal(source.key('kms-2'), undefined)
  const description = { key_id: 'kms-1', provider: 'aws-kms', algorithm: 'SYMMETRIC_DEFAULT', location: arn }
  t.same(keyOf(source).describe(), description)
})

t.test('a destroyed source refuses everything', async t => {
  const source = await openSource(t, kms)
  const key = keyOf(source)
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  kms.fault({ kind: 'hang' }, { times: 1 })
  const before = kms.requests.length
  const underWay = key.unwrap(wrapped, CONTEXT)
  await waitFor(() => kms.requests.length > before, { what: 'the request to be under way' })
  source.destroy()
  await t.rejects(underWay, { code: 'ERR_KEY_DESTROYED' })
  await t.rejects(key.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  await t.rejects(key.wrap(wrapped, CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  await t.rejects(generate(key, CONTEXT), { code: 'ERR_KEY_DESTROYED' })
  t.equal(await source.health(), 'destroyed')
  kms.clearFaults()
})

t.test('options are closed and bounded', async t => {
  const key_arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab'
  const good = { name: 'kms-1', provider: 'aws-kms', key_arn }
  t.ok(Value.Check(AwsKmsSourceOptions, good))
  t.ok(Value.Check(AwsKmsSourceOptions, { ...good, key_arn: key_arn.replace('aws:', 'aws-us-gov:') }))
  t.ok(Value.Check(AwsKmsSourceOptions, { ...good, key_arn: key_arn.replace(/[^/]+$/, `mrk-${'0'.repeat(32)}`) }))
  t.ok(Value.Check(AwsKmsSourceOptions, { ...good, endpoint: 'https://vpce-0-kms.eu-central-1.vpce.amazonaws.com' }))
  const changes: Record<string, unknown>[] = [
    { access_key_id: 'AKIA' },
    { name: 'a:v1' },
    { provider: 'kms' },
    { key_arn: '1234abcd-12ab-34cd-56ef-1234567890ab' },
    { key_arn: 'arn:aws:kms:eu-central-1:111122223333:alias/rap' },
    { key_arn: `${key_arn}/x` },
    { region: 'eu central' },
    { endpoint: 'ftp://localhost' },
    { endpoint: 'https://user:password@localhost' },
    { endpoint: 'https://localhost/path?query' },
    { timeout_ms: 99 },
    { timeout_ms: 60_001 },
  ]
  for (const change of changes)
    t.notOk(Value.Check(AwsKmsSourceOptions, { ...good, ...change }), JSON.stringify(change))
})
