import fc from 'fast-check'
import t from 'tap'
import {
  firstTrustBundle,
  followTrustBundles,
  type HeldTrustBundle,
  nextTrustBundle,
  type SignedTrustBundle,
  signTrustBundle,
} from '../src/index.ts'
import { bundleOf, DAY_MS, forge, newRoot, now, publish } from './helper.ts'

const [one, two, three, stranger] = await Promise.all(
  ['Root 1', 'Root 2', 'Root 3', 'Root 1'].map(name => newRoot(name)),
)
if (!one || !two || !three || !stranger) throw new Error('unreachable')

/** The bundles of two rotations, {1} {1,2} {2} {2,3} {3}, each as its client holds it. */
const documents: SignedTrustBundle[] = []
const chain: HeldTrustBundle[] = []
for (const [roots, signer] of [
  [[one], one],
  [[one, two], one],
  [[two], two],
  [[two, three], two],
  [[three], three],
] as const) {
  const previous = chain.at(-1)
  const document = await publish(roots, [signer], previous)
  documents.push(document)
  chain.push(previous === undefined ? await firstTrustBundle(document) : await nextTrustBundle(previous, document))
}
const [v1, v2, v3] = chain as [HeldTrustBundle, HeldTrustBundle, HeldTrustBundle]
const fetchVersion = async (version: number) => documents[version - 1]

t.test('a client follows two rotations from the first bundle to the last', async t => {
  const asked: number[] = []
  const held = await followTrustBundles(v1, 5, async version => {
    asked.push(version)
    return JSON.stringify(documents[version - 1])
  })
  t.equal(held.bundle.ref, 'rap-platform-ca:v5')
  t.equal(held.pem, three.certificatePem)
  t.same(asked, [2, 3, 4, 5])
})

t.test('whichever bundle is offered, only the one after the held one is taken', async t => {
  const offers = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(offers, async indexes => {
      let held = v1
      for (const index of indexes) {
        const isNext = index === held.bundle.version
        try {
          held = await nextTrustBundle(held, documents[index])
          t.ok(isNext, `v${index + 1} was taken`)
        } catch (err) {
          if ((err as { code?: string }).code !== 'ERR_TRUST_BUNDLE_STEP') throw err
          t.notOk(isNext, `v${index + 1} was refused`)
        }
      }
      t.same(held, chain[held.bundle.version - 1])
    }),
    { numRuns: 50 },
  )
})

t.test('a step is refused where it skips, goes back, changes hands or forgets its predecessor', async t => {
  const steps: Record<string, SignedTrustBundle> = {
    'the same again': documents[0]!,
    'one skipped': documents[2]!,
    'a version of its own with the right number': await publish([one], [one], v3, { version: 2 }),
    'another name': await publish([one], [one], v1, { ref: 'other-ca:v2' }),
    'another trust domain': await publish([one], [one], v1, { trust_domain: 'evil.internal' }),
    'the hash of another predecessor': await publish([one], [one], v2, { version: 2 }),
  }
  for (const [title, document] of Object.entries(steps)) {
    await t.rejects(nextTrustBundle(v1, document), { code: 'ERR_TRUST_BUNDLE_STEP' }, title)
  }
  await t.rejects(nextTrustBundle(v2, documents[0]), { code: 'ERR_TRUST_BUNDLE_STEP' }, 'back')
})

t.test('a step that no root of the held bundle signs is refused', async t => {
  const attacks: [string, HeldTrustBundle, SignedTrustBundle][] = [
    ['the new root alone', v1, await publish([one, two], [two], v1)],
    ['a stranger of the same name', v1, await publish([stranger], [stranger], v1)],
    ['the stranger beside the old root', v1, await publish([one, stranger], [stranger], v1)],
    ['a root that was retired', v3, await publish([one, two], [one], v3)],
  ]
  for (const [title, held, document] of attacks) {
    await t.rejects(nextTrustBundle(held, document), { code: 'ERR_TRUST_BUNDLE_SIGNATURE' }, title)
  }
  const unsigned = { ...documents[1], signatures: [] }
  await t.rejects(nextTrustBundle(v1, unsigned), { code: 'ERR_TRUST_BUNDLE_MALFORMED' }, 'nobody')
})

t.test('a step that could not be read again from a store is refused', async t => {
  const both = await publish([two], [one, two], v1)
  t.ok(await nextTrustBundle(v1, both))
  const withoutItsOwn = { ...both, signatures: both.signatures.slice(0, 1) }
  await t.rejects(nextTrustBundle(v1, withoutItsOwn), { code: 'ERR_TRUST_BUNDLE_SIGNATURE' })
})

t.test('a root that had ended signs no step, and one that ended since does', async t => {
  const short = await newRoot('short', { days: 2 })
  const held = await firstTrustBundle(await publish([short], [short]))
  const at = (days: number) => ({ issued_at: new Date(now.getTime() + days * DAY_MS).toISOString() })
  t.ok(
    await nextTrustBundle(held, await publish([one], [short, one], held, at(1))),
    'a client that comes back years later',
  )
  // Signed by hand with the root's true time, as a thief of an old key would.
  const late = bundleOf([one], held, at(3))
  const own = await signTrustBundle(late, [one])
  const header = JSON.parse(Buffer.from(held.signed.signatures[0]!.protected, 'base64url').toString())
  const { payload, ...signature } = await forge(late, header, short)
  t.equal(payload, own.payload)
  const document = { payload, signatures: [...own.signatures, signature] }
  await t.rejects(nextTrustBundle(held, document), { code: 'ERR_TRUST_BUNDLE_SIGNATURE' })
})

t.test('following stops at the first step that does not hold, and what was held stays', async t => {
  const wrong = async (version: number) => documents[version === 3 ? 1 : version - 1]
  await t.rejects(followTrustBundles(v1, 5, wrong), { code: 'ERR_TRUST_BUNDLE_STEP' })
  const away = async () => Promise.reject(new Error('away'))
  await t.rejects(followTrustBundles(v1, 2, away), { message: 'away' })
  t.equal(v1.pem, one.certificatePem)
})

t.test('an older newest is no step back, and an endless way is not begun', async t => {
  const never = async (): Promise<unknown> => t.fail('nothing is fetched')
  t.equal(await followTrustBundles(v3, 3, never), v3)
  t.equal(await followTrustBundles(v3, 1, never), v3)
  for (const newest of [102, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY, Number.NaN, 2.5]) {
    await t.rejects(followTrustBundles(v1, newest, never), { code: 'ERR_TRUST_BUNDLE_STEP' }, String(newest))
  }
})

t.test('a document with any bit turned is refused', async t => {
  const bytes = Buffer.from(JSON.stringify(documents[1]))
  const bits = fc.integer({ min: 0, max: bytes.length * 8 - 1 })
  await fc.assert(
    fc.asyncProperty(bits, async bit => {
      const turned = Buffer.from(bytes)
      turned.writeUInt8(turned.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      await t.rejects(nextTrustBundle(v1, turned.toString('latin1')), { name: 'TrustBundleError' }, `bit ${bit}`)
    }),
    { numRuns: 300 },
  )
})

t.test('what is held does not change with the document that it came from', async t => {
  const document = structuredClone(documents[0]!)
  const held = await firstTrustBundle(document)
  document.signatures.length = 0
  document.payload = ''
  t.same(held, v1)
  t.ok(await nextTrustBundle(held, await fetchVersion(2)))
})
