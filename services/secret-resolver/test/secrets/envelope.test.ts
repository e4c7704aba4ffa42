import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import {
  contextOf,
  dataKeyContext,
  type Envelope,
  type EnvelopePlace,
  openEnvelope,
  sealEnvelope,
} from '../../src/secrets/envelope.ts'
import { ACTIVE_KEY, isZero, testKeys, watched, withKeys } from '../support/keys.ts'

const PLACE: EnvelopePlace = {
  organizationId: '11111111-1111-4111-8111-111111111111',
  resourceId: '22222222-2222-4222-8222-222222222222',
  secretRef: 'rap-secret://org/1/resources/2/rdp-primary',
  version: 3,
}
const PLAINTEXT = Buffer.from('{"password":"correct horse"}')

t.test('an envelope opens at its place and holds nothing readable', async t => {
  const keys = testKeys()
  const envelope = await sealEnvelope(Buffer.from(PLAINTEXT), PLACE, { keys, keyId: ACTIVE_KEY })
  t.equal(envelope.keyId, 'key-1')
  t.equal(envelope.algorithm, 'AES-256-GCM')
  t.equal(envelope.nonce.length, 12)
  t.equal(envelope.ciphertext.length, PLAINTEXT.length + 16)
  t.equal(envelope.payloadSha256, createHash('sha256').update(envelope.ciphertext).digest('hex'))
  t.strictSame(await openEnvelope(envelope, PLACE, keys), PLAINTEXT)
})

t.test('every version has its own data key and nonce', async t => {
  const keys = testKeys()
  const envelopes = await Promise.all(
    Array.from({ length: 8 }, () => sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: ACTIVE_KEY })),
  )
  t.equal(new Set(envelopes.map(({ nonce }) => nonce.toString('hex'))).size, 8)
  t.equal(new Set(envelopes.map(({ ciphertext }) => ciphertext.toString('hex'))).size, 8)
  t.equal(new Set(envelopes.map(({ wrappedDataKey }) => wrappedDataKey.toString('hex'))).size, 8)
})

t.test('an envelope opens in no other place', async t => {
  const keys = testKeys()
  const envelope = await sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: ACTIVE_KEY })
  const elsewhere: Partial<EnvelopePlace>[] = [
    { organizationId: PLACE.resourceId },
    { resourceId: PLACE.organizationId },
    { secretRef: `${PLACE.secretRef}-2` },
    { version: 4 },
  ]
  for (const change of elsewhere) {
    await t.rejects(openEnvelope(envelope, { ...PLACE, ...change }, keys), { code: 'ERR_ENVELOPE_NOT_OPENED' })
  }
})

t.test('an envelope does not open under another key id, also where that key is known', async t => {
  const shared = randomBytes(32)
  const keys = testKeys(['key-1', 'key-2'], { 'key-1': shared, 'key-2': shared })
  const envelope = await sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: ACTIVE_KEY })
  for (const keyId of ['key-2', 'key-3', '']) {
    await t.rejects(openEnvelope({ ...envelope, keyId }, PLACE, keys), { code: 'ERR_ENVELOPE_NOT_OPENED' })
  }
})

t.test('an envelope with any byte changed, or cut short, does not open', async t => {
  const keys = testKeys()
  const envelope = await sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: ACTIVE_KEY })
  const other = await sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: ACTIVE_KEY })
  const changes: Partial<Envelope>[] = [{ algorithm: 'AES-128-GCM' }]
  for (const field of ['ciphertext', 'nonce', 'wrappedDataKey'] as const) {
    for (let at = 0; at < envelope[field].length; at++) {
      const flipped = Buffer.from(envelope[field])
      flipped[at] = (flipped[at] as number) ^ 1
      changes.push({ [field]: flipped }, { [field]: envelope[field].subarray(0, at) })
    }
    changes.push({ [field]: Buffer.concat([envelope[field], Buffer.alloc(1)]) }, { [field]: other[field] })
  }
  for (const change of changes) {
    await t.rejects(openEnvelope({ ...envelope, ...change }, PLACE, keys), { code: 'ERR_ENVELOPE_NOT_OPENED' })
  }
})

t.test('the data key is zero after sealing, opening and failing to open', async t => {
  const keys = watched(testKeys())
  const envelope = await sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: ACTIVE_KEY })
  t.ok(isZero(keys.seen[0]!), 'the fresh data key')
  await openEnvelope(envelope, PLACE, keys)
  t.ok(isZero(keys.seen[1]!), 'the unwrapped data key')
  const broken = { ...envelope, ciphertext: Buffer.concat([envelope.ciphertext.subarray(1), Buffer.alloc(1)]) }
  await t.rejects(openEnvelope(broken, PLACE, keys))
  t.ok(isZero(keys.seen[2]!), 'also where the content does not open')
  const short = Buffer.alloc(16, 7)
  const wrong = withKeys(keys, { generateDataKey: async () => ({ dataKey: short, wrapped: Buffer.alloc(1) }) })
  await t.rejects(sealEnvelope(PLAINTEXT, PLACE, { keys: wrong, keyId: ACTIVE_KEY }))
  t.ok(isZero(short), 'also where a provider makes a key of another length')
})

t.test('an envelope that was wrapped again opens under its new key alone', async t => {
  const keys = testKeys(['key-1', 'key-2'])
  const envelope = await sealEnvelope(PLAINTEXT, PLACE, { keys, keyId: 'key-1' })
  const wrapped = { keyId: envelope.keyId, wrapped: envelope.wrappedDataKey }
  const again = await keys.rewrap(wrapped, 'key-2', dataKeyContext(PLACE, envelope.sealedKeyId))
  const moved = { ...envelope, keyId: 'key-2', wrappedDataKey: again }
  t.strictSame(await openEnvelope(moved, PLACE, keys), PLAINTEXT)
  const refused = { code: 'ERR_ENVELOPE_NOT_OPENED' }
  await t.rejects(openEnvelope({ ...moved, keyId: 'key-1' }, PLACE, keys), refused, 'the new bytes under the old id')
  await t.rejects(openEnvelope({ ...envelope, keyId: 'key-2' }, PLACE, keys), refused, 'the old bytes under the new id')
  await t.rejects(openEnvelope({ ...moved, sealedKeyId: 'key-2' }, PLACE, keys), refused, 'another key at the writing')
})

t.test('no two places and no two purposes have the same context bytes', async t => {
  const places: EnvelopePlace[] = [
    PLACE,
    { ...PLACE, organizationId: `${PLACE.organizationId}2`, resourceId: PLACE.resourceId.slice(1) },
    { ...PLACE, version: 33 },
    { ...PLACE, secretRef: '' },
    { ...PLACE, organizationId: '' },
  ]
  const contexts = (['payload', 'data-key'] as const).flatMap(purpose =>
    places.flatMap(place => ['k', '3k', ''].map(keyId => contextOf(purpose, place, keyId).toString('hex'))),
  )
  t.equal(new Set(contexts).size, contexts.length)
})
