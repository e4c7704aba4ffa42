import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { BundleNote, FetchBundle } from '../src/bundle-line.ts'
import { fileTrustStore, openTrustBundles, type TrustBundlesOptions, type TrustStore } from '../src/index.ts'
import { type Published, publish, rotation } from './bundles.ts'
import { authority } from './helper.ts'

const [a, b, stranger] = [await authority(), await authority(), await authority()]
const [v1, v2, v3] = await rotation(a, b)
const ALL = [v1, v2, v3]

/** What a control plane that serves these answers; `asked` holds the versions. */
function source(published: readonly { version: number; signed: unknown }[]): { fetch: FetchBundle; asked: number[] } {
  const asked: number[] = []
  return {
    asked,
    fetch: async version => {
      asked.push(version)
      const found = published.find(bundle => bundle.version === version)
      if (found === undefined) throw Object.assign(new Error('not there'), { reason: 'trust_bundle_unavailable' })
      return structuredClone(found.signed)
    },
  }
}

/** Opens bundles, asks for one ref, and tells what was answered, fetched and noted. */
async function ask(options: TrustBundlesOptions, ref: string | undefined, published: readonly Published[] = ALL) {
  const bundles = await openTrustBundles(options)
  const { fetch, asked } = source(published)
  const notes: BundleNote[] = []
  const answer = await bundles
    .certificatesFor(ref, fetch, note => notes.push(note))
    .catch((error: { reason?: string }) => ({ refused: error.reason ?? String(error) }))
  return { bundles, answer, asked, notes: notes.map(({ reason, ref }) => `${reason} ${ref}`) }
}

const PEM = { ref: 'rap-platform-ca:v1', pem: a.certificatePem }

t.test('a ref that is held is used without a question to anybody, and so is a newer bundle of its name', async t => {
  for (const [first, ref] of [
    [PEM, 'rap-platform-ca:v1'],
    [{ document: v1.signed }, 'rap-platform-ca:v1'],
    [{ document: JSON.stringify({ ...v3, format: 'pem' }) }, 'rap-platform-ca:v1'],
    [{ document: v3, sha256: v3.sha256 }, 'rap-platform-ca:v3'],
    [{ ref: 'corp', pem: a.certificatePem }, 'corp'],
  ] as const) {
    const { answer, asked } = await ask({ first }, ref)
    t.match(answer, { ref: /:v[13]$|^corp$/, pem: /BEGIN CERTIFICATE/ }, JSON.stringify(first).slice(0, 60))
    t.same(asked, [])
  }
})

t.test('a newer ref is followed step by step from whatever the application began with', async t => {
  for (const [name, first, asked] of [
    ['certificates', PEM, [1, 2, 3]],
    ['a signed bundle', { document: v1.signed }, [2, 3]],
    ['a SHA-256', { ref: 'rap-platform-ca:v1', sha256: v1.sha256 }, [1, 2, 3]],
  ] as const) {
    const asking = await ask({ first }, 'rap-platform-ca:v3')
    t.match(asking.answer, { ref: 'rap-platform-ca:v3', pem: b.certificatePem.trim() }, name)
    t.same(asking.asked, asked, name)
    t.equal(asking.notes.at(-1), 'stepped rap-platform-ca:v3')
    t.same(asking.bundles.refs, ['rap-platform-ca:v3'])
    t.notMatch(asking.bundles.certificates.join(''), a.certificatePem.split('\n')[3] ?? '', 'the older root is gone')
  }
})

t.test('what cannot be had or does not follow is refused with its reason, and what was held stays', async t => {
  const cross = await publish({ version: 2, roots: [stranger], signers: [stranger], previous: v1 })
  const strangers = await publish({ version: 1, roots: [stranger] })
  const unchained = await publish({ version: 2, roots: [a, b], signers: [a, b], previous: strangers })
  const skipped = { ...v3, version: 2 }
  const otherName = await publish({ version: 2, roots: [a, b], signers: [a, b], previous: v1, name: 'corp' })
  const widened = await publish({ version: 1, roots: [a, stranger], signers: [a, stranger] })
  const cases: [string, TrustBundlesOptions['first'], string | undefined, readonly Published[], string, string][] = [
    ['a name that is not known', PEM, 'other:v1', ALL, 'trust_bundle_unavailable', 'rap-platform-ca:v1'],
    ['no ref at all', PEM, undefined, ALL, 'trust_bundle_unavailable', 'rap-platform-ca:v1'],
    ['a ref of another form', PEM, 'rap-platform-ca', ALL, 'trust_bundle_unavailable', 'rap-platform-ca:v1'],
    ['nothing is published', PEM, 'rap-platform-ca:v2', [], 'trust_bundle_unavailable', 'rap-platform-ca:v1'],
    [
      'a step is missing',
      { document: v1.signed },
      'rap-platform-ca:v3',
      [v3],
      'trust_bundle_unavailable',
      'rap-platform-ca:v1',
    ],
    [
      'a later step is missing',
      { document: v1.signed },
      'rap-platform-ca:v3',
      [v2],
      'trust_bundle_unavailable',
      'rap-platform-ca:v2',
    ],
    [
      'another signer',
      { document: v1.signed },
      'rap-platform-ca:v2',
      [cross],
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'another predecessor',
      { document: v1.signed },
      'rap-platform-ca:v2',
      [unchained],
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'a later bundle for this one',
      { document: v1.signed },
      'rap-platform-ca:v2',
      [skipped],
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'another name',
      { document: v1.signed },
      'rap-platform-ca:v2',
      [otherName],
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'a first bundle of a stranger',
      PEM,
      'rap-platform-ca:v2',
      [strangers, v2],
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'a first bundle with one root more',
      PEM,
      'rap-platform-ca:v2',
      [widened, v2],
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'another SHA-256',
      { ref: 'rap-platform-ca:v1', sha256: v2.sha256 },
      'rap-platform-ca:v1',
      ALL,
      'trust_bundle_unverified',
      'rap-platform-ca:v1',
    ],
    [
      'a version far away',
      { document: v1.signed },
      'rap-platform-ca:v99999',
      ALL,
      'trust_bundle_unavailable',
      'rap-platform-ca:v1',
    ],
    [
      'a version without end',
      { document: v1.signed },
      'rap-platform-ca:v99999999999',
      ALL,
      'trust_bundle_unavailable',
      'rap-platform-ca:v1',
    ],
  ]
  for (const [name, first, ref, published, reason, held] of cases) {
    const { answer, bundles, asked } = await ask({ first }, ref, published)
    t.same(answer, { refused: reason }, name)
    t.same(bundles.refs, [held], name)
    t.ok(asked.length <= 3, `${name}: ${asked.length} were fetched`)
  }
})

t.test('no document makes a held bundle worse: whatever is answered is refused or is the successor', async t => {
  const json = fc.oneof(
    fc.json().map(text => JSON.parse(text) as unknown),
    fc.record({ payload: fc.string(), signatures: fc.array(fc.anything(), { maxLength: 3 }) }),
  )
  await fc.assert(
    fc.asyncProperty(json, async signed => {
      const { answer, bundles } = await ask({ first: { document: v1.signed } }, 'rap-platform-ca:v2', [
        { ...v2, signed: signed as never },
      ])
      t.match(answer, { refused: 'trust_bundle_unverified' })
      t.same(bundles.refs, ['rap-platform-ca:v1'])
    }),
    { numRuns: 50 },
  )
})

t.test('several names are held side by side, and none vouches for another', async t => {
  const corp = await publish({ version: 1, roots: [stranger], name: 'corp' })
  const first = [PEM, { document: corp.signed }]
  t.match((await ask({ first }, 'corp:v1')).answer, { ref: 'corp:v1', pem: stranger.certificatePem.trim() })
  t.match((await ask({ first }, 'rap-platform-ca:v2')).answer, { ref: 'rap-platform-ca:v2' })
  const bundles = await openTrustBundles({ first })
  t.same(bundles.refs, ['rap-platform-ca:v1', 'corp:v1'])
})

t.test('a first bundle that is wrong is an error of the application', async t => {
  for (const first of [
    [],
    [PEM, PEM],
    { ref: 'rap-platform-ca:v1', pem: '' },
    { ref: 'rap-platform-ca:v1', pem: 'no certificate' },
    { ref: 'rap-platform-ca:v1', pem: a.keyPem },
    { ref: 'rap-platform-ca', sha256: v1.sha256 },
    { document: 'not json' },
    { document: { ...v1, signed: null } },
    { document: { ...v1.signed, payload: v2.signed.payload } },
    { document: v1.signed, sha256: v2.sha256 },
  ] as TrustBundlesOptions['first'][]) {
    await t.rejects(openTrustBundles({ first }), { code: 'ERR_OPTION_INVALID' }, JSON.stringify(first).slice(0, 60))
  }
})

t.test('what was followed is kept in a directory, readable for its owner alone, and found by the next run', async t => {
  const directory = join(t.testdir(), 'trust')
  const store = fileTrustStore(directory)
  await ask({ first: PEM, store }, 'rap-platform-ca:v3')
  t.same(readdirSync(directory), ['bundle-rap-platform-ca.json'])
  t.equal(statSync(directory).mode & 0o777, 0o700)
  t.equal(statSync(join(directory, 'bundle-rap-platform-ca.json')).mode & 0o777, 0o600)
  for (const first of [
    PEM,
    { document: v1.signed },
    { document: v2.signed },
    { ref: 'rap-platform-ca:v1', sha256: v1.sha256 },
  ]) {
    const { answer, asked, notes } = await ask({ first, store }, 'rap-platform-ca:v3', [])
    t.match(answer, { ref: 'rap-platform-ca:v3' })
    t.same(asked, [])
    t.same(notes, ['stored rap-platform-ca:v3', 'held rap-platform-ca:v3'])
  }
})

t.test('a store is never believed: whatever stands in it, only what follows from the first bundle counts', async t => {
  const cross = await publish({ version: 2, roots: [stranger], signers: [stranger], previous: v1 })
  const documents = (bundles: readonly { version: number; signed: unknown }[]) =>
    JSON.stringify({ documents: Object.fromEntries(bundles.map(({ version, signed }) => [version, signed])) })
  for (const [name, text] of [
    ['nothing', ''],
    ['half a file', documents(ALL).slice(0, 500)],
    ['another form', '[]'],
    ['a null', 'null'],
    ['a stranger', documents([cross])],
    ['a stranger as the first one', documents([{ version: 1, signed: cross.signed }, v2])],
    ['a later bundle under an earlier number', documents([v1, { version: 2, signed: v3.signed }])],
    ['a prototype', '{"documents":{"__proto__":{"1":{}},"constructor":{}}}'],
  ] as const) {
    const directory = t.testdir({ 'bundle-rap-platform-ca.json': text })
    const { answer, notes, asked } = await ask({ first: PEM, store: fileTrustStore(directory) }, 'rap-platform-ca:v2')
    t.match(answer, { ref: 'rap-platform-ca:v2' }, name)
    t.same(asked, name.startsWith('a later') ? [2] : [1, 2], name)
    if (name !== 'a prototype' && name !== 'a stranger') t.match(notes.join(), /store_ignored/, name)
    t.match(
      JSON.parse(readFileSync(join(directory, 'bundle-rap-platform-ca.json'), 'utf8')),
      { documents: { 1: v1.signed, 2: v2.signed } },
      `${name} is repaired`,
    )
  }
})

t.test('a store that cannot be read or written costs a question and a line, not the way', async t => {
  const directory = t.testdir()
  mkdirSync(join(directory, 'bundle-rap-platform-ca.json'))
  const failing: TrustStore = {
    load: async () => {
      throw Object.assign(new Error('secret text'), { code: 'EACCES' })
    },
    save: async () => {
      throw Object.assign(new Error('disk full'), { code: 'ENOSPC' })
    },
  }
  for (const store of [fileTrustStore(directory), failing]) {
    const { answer, notes } = await ask({ first: PEM, store }, 'rap-platform-ca:v2')
    t.match(answer, { ref: 'rap-platform-ca:v2' })
    t.match(notes.join(), /store_ignored.*store_not_written/)
  }
  t.same(readdirSync(directory), ['bundle-rap-platform-ca.json'], 'nothing is left beside it')
})

t.test('a name never leaves its directory', async t => {
  const directory = join(t.testdir(), 'trust')
  const store = fileTrustStore(directory)
  for (const name of ['../outside', '/etc/passwd', '..', 'a/b', 'nul\u0000']) {
    await store.save(name, 'x')
    t.equal(await store.load(name), 'x')
  }
  t.same(readdirSync(join(directory, '..')), ['trust'])
  t.equal(readdirSync(directory).length, 5)
})

t.test('a store over the bound is not read', async t => {
  const directory = t.testdir({ 'bundle-rap-platform-ca.json': `{"documents":{"1":"${'x'.repeat(9 * 1024 * 1024)}"}}` })
  const { notes } = await ask({ first: PEM, store: fileTrustStore(directory) }, 'rap-platform-ca:v1')
  t.match(notes.join(), /store_ignored/)
})

t.test('clients at once share one directory, one object and one question', async t => {
  const directory = join(t.testdir(), 'trust')
  const store = fileTrustStore(directory)
  await Promise.all(
    Array.from({ length: 12 }, (_, index) => ask({ first: PEM, store }, `rap-platform-ca:v${1 + (index % 3)}`)),
  )
  t.same(readdirSync(directory), ['bundle-rap-platform-ca.json'])
  t.match((await ask({ first: PEM, store }, 'rap-platform-ca:v3')).answer, { ref: 'rap-platform-ca:v3' })

  const bundles = await openTrustBundles({ first: PEM })
  const { fetch, asked } = source(ALL)
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => bundles.certificatesFor('rap-platform-ca:v3', fetch, () => {})),
  )
  t.ok(answers.every(({ ref }) => ref === 'rap-platform-ca:v3'))
  t.same(asked, [1, 2, 3])
})

t.test(
  'a first bundle that is newer than the store takes the lead, and an older application still finds its steps',
  async t => {
    const directory = join(t.testdir(), 'trust')
    const store = fileTrustStore(directory)
    await ask({ first: PEM, store }, 'rap-platform-ca:v2')
    await ask({ first: { document: v2.signed }, store }, 'rap-platform-ca:v3')
    const { asked } = await ask({ first: PEM, store }, 'rap-platform-ca:v3', [])
    t.same(asked, [])
  },
)

t.test('a step that failed is tried again, with the next question', async t => {
  const bundles = await openTrustBundles({ first: { document: v1.signed } })
  await t.rejects(bundles.certificatesFor('rap-platform-ca:v2', source([]).fetch, () => {}))
  t.match(await bundles.certificatesFor('rap-platform-ca:v2', source(ALL).fetch, () => {}), {
    ref: 'rap-platform-ca:v2',
  })
})
