import { X509Certificate } from 'node:crypto'
import t from 'tap'
import {
  createAuthority,
  createCsr,
  createIntermediate,
  createRoot,
  crossSign,
  issueCertificate,
  issueFromCsr,
  openAuthority,
  readCsr,
  type SigningAuthority,
} from '../src/index.ts'
import { after, now, opened } from './helper.ts'
import { openssl } from './openssl.ts'

const DNS = 'worker-1.example'
const SPIFFE = 'spiffe://rap.internal/worker/1'
const root = await opened(createRoot({ name: 'Root 1', days: 3650, now }))
const intermediate = await opened(createIntermediate({ root, name: 'Intermediate 1', days: 730, now }))
const csr = await readCsr((await createCsr({ commonName: 'worker' })).csrPem)

const leafOf = (issuer: SigningAuthority, chainPem = issuer.certificatePem, more: object = {}) =>
  issueFromCsr({
    issuer,
    chainPem,
    csr,
    commonName: 'worker-1',
    dnsNames: [DNS],
    uris: [SPIFFE],
    usages: ['server', 'client'],
    now,
    notAfter: after(1),
    ...more,
  })

/** Exit code of a strict verification with nothing trusted but `anchor`. */
const verify = (anchor: string, leaf: string, untrusted = '') => {
  const purpose = ['-x509_strict', '-purpose', 'sslserver', '-verify_hostname', DNS]
  const stores = ['-no-CAfile', '-no-CApath', '-no-CAstore', '-CAfile', 'root.pem', '-untrusted', 'between.pem']
  const files = { 'root.pem': anchor, 'between.pem': untrusted, 'leaf.pem': leaf }
  return openssl(['verify', ...stores, ...purpose, 'leaf.pem'], files).code
}

t.test('root, intermediate and leaf are as the design says, to openssl', async t => {
  const text = (pem: string) => openssl(['x509', '-in', 'c.pem', '-noout', '-text'], { 'c.pem': pem }).output
  const rootText = text(root.certificatePem)
  t.match(rootText, /ASN1 OID: secp384r1/)
  t.match(rootText, /Signature Algorithm: ecdsa-with-SHA384/)
  t.match(rootText, /Basic Constraints: critical\s+CA:TRUE, pathlen:2/)
  t.match(rootText, /Key Usage: critical\s+Digital Signature, Certificate Sign, CRL Sign\n/)
  t.match(rootText, /Subject Key Identifier/)

  const between = text(intermediate.certificatePem)
  t.match(between, /ASN1 OID: prime256v1/)
  t.match(between, /Signature Algorithm: ecdsa-with-SHA384/)
  t.match(between, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/)
  t.match(between, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
  t.match(between, /Authority Key Identifier/)

  const { certificatePem } = await leafOf(intermediate)
  const leaf = text(certificatePem)
  t.match(leaf, /CA:FALSE/)
  t.match(leaf, /Key Usage: critical\s+Digital Signature\n/)
  t.match(leaf, /TLS Web Server Authentication, TLS Web Client Authentication/)
  t.match(leaf, /DNS:worker-1.example, URI:spiffe:\/\/rap.internal\/worker\/1/)
  t.equal(verify(root.certificatePem, certificatePem, intermediate.certificatePem), 0)
  t.not(verify(root.certificatePem, certificatePem), 0, 'without the intermediate')
})

t.test('a peer that knows only the old root finds a path over the cross-certificate', async t => {
  for (const name of ['Root 2', 'Root 1']) {
    const second = await opened(createRoot({ name, days: 3650, now }))
    const below = await opened(createIntermediate({ root: second, name: 'Intermediate 2', days: 730, now }))
    const cross = await crossSign({ issuer: root, certificatePem: second.certificatePem, now })
    const { certificatePem } = await leafOf(below, `${below.certificatePem}${cross}`)
    const between = `${below.certificatePem}${cross}`
    t.equal(verify(root.certificatePem, certificatePem, between), 0, `old root, new root is called ${name}`)
    t.equal(verify(second.certificatePem, certificatePem, between), 0, 'new root')
    t.equal(verify(`${root.certificatePem}${second.certificatePem}`, certificatePem, between), 0, 'both')
    t.not(
      verify(root.certificatePem, certificatePem, below.certificatePem),
      0,
      'old root without the cross-certificate',
    )
    t.same(certificatePem.match(/BEGIN CERTIFICATE/g)?.length, 3, 'it is sent with both')
  }
})

t.test('a cross-certificate has the subject, key and limits of the root, and outlives neither', async t => {
  const second = await opened(createRoot({ name: 'Root 2', days: 30, now }))
  const cross = new X509Certificate(await crossSign({ issuer: root, certificatePem: second.certificatePem, now }))
  const original = new X509Certificate(second.certificatePem)
  t.equal(cross.subject, original.subject)
  t.equal(cross.issuer, new X509Certificate(root.certificatePem).subject)
  t.ok(cross.publicKey.equals(original.publicKey))
  t.equal(cross.validTo, original.validTo)
  const { output } = openssl(['x509', '-in', 'c.pem', '-noout', '-ext', 'basicConstraints'], {
    'c.pem': cross.toString(),
  })
  t.match(output, /CA:TRUE, pathlen:2/)
  const short = await opened(createRoot({ name: 'short', days: 1, now }))
  const shorter = new X509Certificate(await crossSign({ issuer: short, certificatePem: root.certificatePem, now }))
  t.equal(shorter.validTo, new X509Certificate(short.certificatePem).validTo)
})

t.test('only a root is cross-signed, and only where the path has room for it', async t => {
  const flat = await createAuthority({ name: 'pathlen 1', days: 30, now })
  const { createPrivateKey } = await import('node:crypto')
  const pkcs8 = createPrivateKey(flat.keyPem).export({ format: 'der', type: 'pkcs8' })
  const narrow = await openAuthority(flat.certificatePem, pkcs8)
  const { certificatePem } = root
  await t.rejects(crossSign({ issuer: narrow, certificatePem, now }), { code: 'ERR_PKI_PATH_LENGTH' })
  await t.rejects(crossSign({ issuer: intermediate, certificatePem, now }), { code: 'ERR_PKI_PATH_LENGTH' })
  await t.rejects(crossSign({ issuer: root, certificatePem: intermediate.certificatePem, now }), {
    code: 'ERR_PKI_INVALID_CERTIFICATE',
  })
  const leaf = await issueCertificate({ authority: flat, commonName: 'x', usages: ['server'], now })
  await t.rejects(crossSign({ issuer: root, certificatePem: leaf.certificatePem, now }), {
    code: 'ERR_PKI_NOT_AN_AUTHORITY',
  })
  await t.rejects(crossSign({ issuer: root, certificatePem, now: after(3651) }), { code: 'ERR_PKI_INVALID_VALIDITY' })
})

t.test('an intermediate never outlives its root, has room in its path and a name of its own', async t => {
  const short = await opened(createRoot({ name: 'short', days: 1, now }))
  const below = await createIntermediate({ root: short, name: 'below', days: 730, now })
  t.equal(new X509Certificate(below.certificatePem).validTo, new X509Certificate(short.certificatePem).validTo)
  const lower = { name: 'lower', days: 1, now }
  await t.rejects(createIntermediate({ ...lower, root: intermediate }), { code: 'ERR_PKI_PATH_LENGTH' })
  await t.rejects(createIntermediate({ ...lower, root: short, name: 'short' }), { code: 'ERR_PKI_INVALID_NAME' })
  await t.rejects(createIntermediate({ ...lower, root: short, now: after(2) }), { code: 'ERR_PKI_INVALID_VALIDITY' })
  await t.rejects(createRoot({ ...lower, days: 0 }), { code: 'ERR_PKI_INVALID_VALIDITY' })
  await t.rejects(createRoot({ ...lower, days: Number.NaN }), { code: 'ERR_PKI_INVALID_VALIDITY' })
})

t.test('an authority opens with its own key alone, and the key cannot be taken out again', async t => {
  const made = await createRoot({ name: 'made', days: 1, now })
  const { privateKey } = await openAuthority(made.certificatePem, made.privateKey)
  t.equal(privateKey.extractable, false)
  t.same(privateKey.usages, ['sign'])
  const other = await createRoot({ name: 'made', days: 1, now })
  const refused: [string, string, Uint8Array, string][] = [
    ['the key of another', made.certificatePem, other.privateKey, 'ERR_PKI_INVALID_KEY'],
    ['a key of another curve', intermediate.certificatePem, made.privateKey, 'ERR_PKI_INVALID_KEY'],
    ['no key', made.certificatePem, Buffer.alloc(40), 'ERR_PKI_INVALID_KEY'],
    [
      'a leaf',
      (await leafOf(intermediate)).certificatePem.split(/(?<=-----END CERTIFICATE-----\n)/)[0]!,
      made.privateKey,
      'ERR_PKI_NOT_AN_AUTHORITY',
    ],
    [
      'two certificates',
      `${made.certificatePem}${other.certificatePem}`,
      made.privateKey,
      'ERR_PKI_INVALID_CERTIFICATE',
    ],
    ['text beside it', `# made\n${made.certificatePem}`, made.privateKey, 'ERR_PKI_INVALID_CERTIFICATE'],
    ['too long', ' '.repeat(20_000) + made.certificatePem, made.privateKey, 'ERR_PKI_INVALID_CERTIFICATE'],
  ]
  for (const [title, pem, key, code] of refused) await t.rejects(openAuthority(pem, key), { code }, title)
})

t.test('a key of an authority is in no error', async t => {
  const made = await createRoot({ name: 'made', days: 1, now })
  const damaged = Buffer.from(made.privateKey)
  damaged.writeUInt8(damaged.readUInt8(30) ^ 0xff, 30)
  const err = await openAuthority(made.certificatePem, damaged).catch(cause => cause)
  t.equal(err.code, 'ERR_PKI_INVALID_KEY')
  t.equal(err.cause, undefined)
})

t.test('what is issued says what the certificate says, and ends with its chain at the latest', async t => {
  const issued = await leafOf(intermediate)
  const leaf = new X509Certificate(issued.certificatePem)
  t.equal(issued.serial, leaf.serialNumber.toLowerCase())
  t.equal(issued.notBefore.getTime(), new Date(leaf.validFrom).getTime())
  t.equal(issued.notAfter.getTime(), new Date(leaf.validTo).getTime())
  t.match(issued.thumbprint, /^[A-Za-z0-9_-]{43}$/)
  t.equal(
    openssl(['x509', '-in', 'l.pem', '-noout', '-pubkey'], { 'l.pem': issued.certificatePem }).output,
    openssl(['pkey', '-pubin', '-inform', 'DER', '-in', 'k.der'], { 'k.der': Buffer.from(csr.spki) }).output,
    'the key of the request',
  )

  const ending = await opened(createIntermediate({ root, name: 'ending', days: 1, now }))
  const clamped = await leafOf(ending, undefined, { notAfter: after(30) })
  t.equal(new X509Certificate(clamped.certificatePem).validTo, new X509Certificate(ending.certificatePem).validTo)
  await t.rejects(leafOf(ending, undefined, { now: after(2), notAfter: after(3) }), {
    code: 'ERR_PKI_INVALID_VALIDITY',
  })
  await t.rejects(leafOf(intermediate, undefined, { notAfter: new Date(now.getTime() - 1) }), {
    code: 'ERR_PKI_INVALID_VALIDITY',
  })
})

t.test('a chain begins with the issuer, and each link is issued by the next', async t => {
  const other = await opened(createRoot({ name: 'Root 1', days: 1, now }))
  const chains: [string, string][] = [
    ['none', ''],
    ['the root alone', root.certificatePem],
    ['a foreign root above', `${intermediate.certificatePem}${other.certificatePem}`],
    ['text in between', `${intermediate.certificatePem}x\n${root.certificatePem}`],
    ['too many', intermediate.certificatePem.repeat(5)],
    ['too long', `${intermediate.certificatePem}${' '.repeat(70_000)}`],
  ]
  for (const [title, chainPem] of chains) {
    await t.rejects(leafOf(intermediate, chainPem), { code: 'ERR_PKI_INVALID_CERTIFICATE' }, title)
  }
  await t.resolves(leafOf(intermediate, `${intermediate.certificatePem}${root.certificatePem}`))
})

t.test('names are checked before they are written, and IPv6 has one spelling', async t => {
  await t.rejects(leafOf(intermediate, undefined, { dnsNames: ['a b'] }), { code: 'ERR_PKI_INVALID_NAME' })
  await t.rejects(leafOf(intermediate, undefined, { commonName: '' }), { code: 'ERR_PKI_INVALID_NAME' })
  const ipAddresses = ['2001:DB8:0:0::1', '192.0.2.1', '::ffff:192.0.2.9']
  const { certificatePem } = await leafOf(intermediate, undefined, { ipAddresses })
  t.equal(new X509Certificate(certificatePem).checkIP('2001:db8::1'), '2001:db8::1')
  t.equal(new X509Certificate(certificatePem).checkIP('192.0.2.1'), '192.0.2.1')
  t.ok(new X509Certificate(certificatePem).checkIP('::ffff:192.0.2.9'), 'IPv4 inside IPv6')
})
