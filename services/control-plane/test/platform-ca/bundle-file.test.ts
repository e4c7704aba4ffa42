import { createAuthority, issueCertificate } from '@rap/pki'
import t from 'tap'
import { readTrustBundle } from '../../src/platform-ca/bundle-file.ts'

const now = new Date()
const first = await createAuthority({ name: 'first', days: 1, now })
const second = await createAuthority({ name: 'second', days: 1, now })

t.test('a bundle holds every CA of the file and nothing else of it', async t => {
  const file = `# a comment\n${first.certificatePem}${first.keyPem}\n${second.certificatePem}`
  const bundle = readTrustBundle(Buffer.from(file))
  t.equal(bundle.match(/BEGIN CERTIFICATE/g)?.length, 2)
  t.notMatch(bundle, 'PRIVATE KEY')
  t.notMatch(bundle, 'comment')
  t.equal(bundle.replaceAll('\n', ''), `${first.certificatePem}${second.certificatePem}`.replaceAll('\n', ''))
})

t.test('a file without a CA is refused', async t => {
  const leaf = await issueCertificate({ authority: first, commonName: 'leaf', usages: ['server'], now })
  t.throws(() => readTrustBundle(Buffer.from(leaf.certificatePem)), TypeError)
  t.throws(() => readTrustBundle(Buffer.from(first.keyPem)), TypeError)
  t.throws(() => readTrustBundle(Buffer.from('')), TypeError)
  t.throws(() => readTrustBundle(Buffer.from(first.certificatePem.repeat(17))), TypeError)
})
