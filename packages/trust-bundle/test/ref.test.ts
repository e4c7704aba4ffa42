import fc from 'fast-check'
import t from 'tap'
import { parseTrustBundleRef, trustBundleRef } from '../src/index.ts'

t.test('a ref names a bundle and its version', async t => {
  t.equal(trustBundleRef('rap-platform-ca', 1), 'rap-platform-ca:v1')
  t.same(parseTrustBundleRef('rap-platform-ca:v12'), { name: 'rap-platform-ca', version: 12 })
  t.same(parseTrustBundleRef('a:v100000'), { name: 'a', version: 100_000 })
})

t.test('a ref has one spelling', async t => {
  const refused = ['', 'a', 'a:v', 'a:v0', 'a:v01', 'a:v-1', 'a:v1.0', 'a:v1e3', 'a:v100001', 'a:V1', ':v1', '-a:v1']
  const more = ['a b:v1', 'a/b:v1', 'a:v1\n', ' a:v1', 'a:v1:v2', `${'a'.repeat(97)}:v1`, 'a:v١']
  for (const ref of [...refused, ...more]) t.equal(parseTrustBundleRef(ref), undefined, JSON.stringify(ref))
  for (const [name, version] of [
    ['', 1],
    ['a:v1', 1],
    ['a', 0],
    ['a', 1.5],
    ['a', Number.NaN],
    ['a', 100_001],
  ] as const) {
    t.throws(() => trustBundleRef(name, version), { code: 'ERR_TRUST_BUNDLE_MALFORMED' }, `${name} ${version}`)
  }
})

t.test('a ref that is made is read as it was meant, and one that is read is made again', async t => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/)
  fc.assert(
    fc.property(name, fc.integer({ min: 1, max: 100_000 }), (text, version) => {
      t.same(parseTrustBundleRef(trustBundleRef(text, version)), { name: text, version })
    }),
  )
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', ':', 'v', '1', '0', '-', '\n'), maxLength: 8 }), text => {
      const read = parseTrustBundleRef(text)
      if (read !== undefined) t.equal(trustBundleRef(read.name, read.version), text)
    }),
  )
})
