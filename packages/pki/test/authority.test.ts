import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import t from 'tap'
import { createAuthority, issueCertificate } from '../src/index.ts'
import { openssl } from './openssl.ts'

const now = new Date()
const DAY_MS = 86_400_000
const authority = await createAuthority({ name: 'Test Platform CA', days: 365, now })

t.test('an authority is a root with CA:TRUE, a path length, and only signing usages', async t => {
  const { output } = openssl(['x509', '-in', 'ca.pem', '-noout', '-text'], { 'ca.pem': authority.certificatePem })
  t.match(output, /Basic Constraints: critical\s+CA:TRUE, pathlen:1/)
  t.match(output, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
  t.match(output, /ASN1 OID: prime256v1/)
  t.match(output, /Subject Key Identifier/)
  const certificate = new X509Certificate(authority.certificatePem)
  t.ok(certificate.ca)
  t.ok(certificate.verify(certificate.publicKey))
  t.ok(certificate.checkPrivateKey(createPrivateKey(authority.keyPem)))
})

t.test('an issued certificate passes strict verification for its usage and name only', async t => {
  for (const keyType of ['ec', 'rsa'] as const) {
    const leaf = await issueCertificate({
      authority,
      commonName: 'worker-1',
      dnsNames: ['worker-1.example', '*.apps.example'],
      ipAddresses: ['192.0.2.1', '2001:db8::1'],
      uris: ['spiffe://rap.internal/worker/1'],
      usages: ['server'],
      now,
      keyType,
    })
    const files = { 'ca.pem': authority.certificatePem, 'leaf.pem': leaf.certificatePem }
    const verify = (...more: string[]) =>
      openssl(['verify', '-x509_strict', '-CAfile', 'ca.pem', ...more, 'leaf.pem'], files).code
    t.equal(verify('-purpose', 'sslserver', '-verify_hostname', 'worker-1.example'), 0)
    t.equal(verify('-verify_hostname', 'a.apps.example'), 0)
    t.equal(verify('-verify_ip', '2001:db8::1'), 0)
    t.not(verify('-verify_hostname', 'worker-2.example'), 0, 'another name')
    t.not(verify('-verify_ip', '192.0.2.2'), 0, 'another address')
    t.not(verify('-purpose', 'sslclient'), 0, 'no clientAuth')

    const { output } = openssl(['x509', '-in', 'leaf.pem', '-noout', '-text'], files)
    t.match(output, /CA:FALSE/)
    t.match(output, /Authority Key Identifier/)
    t.match(output, /URI:spiffe:\/\/rap.internal\/worker\/1/)
    t.match(output, keyType === 'rsa' ? /Digital Signature, Key Encipherment\n/ : /Digital Signature\n/)
    t.match(new X509Certificate(leaf.certificatePem).checkPrivateKey(createPrivateKey(leaf.keyPem)), true)
  }
})

t.test('serial numbers are positive and of 128 random bits', async t => {
  const issue = () => issueCertificate({ authority, commonName: 'x', usages: ['client'], now })
  const serials = new Set<string>()
  for (let round = 0; round < 16; round++) {
    const { serialNumber } = new X509Certificate((await issue()).certificatePem)
    t.match(serialNumber, /^[0-9A-F]{24,32}$/)
    serials.add(serialNumber)
  }
  t.equal(serials.size, 16)
})

t.test('a certificate never outlives its issuer, and never ends before it begins', async t => {
  const short = await createAuthority({ name: 'short', days: 1, now })
  const leaf = await issueCertificate({ authority: short, commonName: 'x', usages: ['server'], now })
  const validTo = (pem: string) => new Date(new X509Certificate(pem).validTo).getTime()
  t.equal(validTo(leaf.certificatePem), validTo(short.certificatePem))
  const issueAt = (at: Date, notAfter?: Date) =>
    issueCertificate({
      authority: short,
      commonName: 'x',
      usages: ['server'],
      now: at,
      ...(notAfter === undefined ? {} : { notAfter }),
    })
  await t.rejects(issueAt(new Date(now.getTime() + 2 * DAY_MS)), { code: 'ERR_PKI_INVALID_VALIDITY' })
  await t.rejects(issueAt(now, new Date(now.getTime() - DAY_MS)), { code: 'ERR_PKI_INVALID_VALIDITY' })
  await t.rejects(createAuthority({ name: 'x', days: Number.NaN, now }), { code: 'ERR_PKI_INVALID_VALIDITY' })
})

t.test('dates from 2050 on are written so that others read them', async t => {
  const long = await createAuthority({ name: 'long', days: 365 * 40, now })
  t.equal(openssl(['verify', '-x509_strict', '-CAfile', 'l.pem', 'l.pem'], { 'l.pem': long.certificatePem }).code, 0)
})

t.test('a key that is given is used, and its kind is checked', async t => {
  const pem = (key: ReturnType<typeof createPrivateKey>) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
  const issueFor = (keyPem: string) => issueCertificate({ authority, commonName: 'x', usages: ['client'], now, keyPem })
  const first = await issueCertificate({ authority, commonName: 'x', usages: ['client'], now })
  const renewed = await issueFor(first.keyPem)
  t.equal(renewed.keyPem, first.keyPem)
  t.ok(new X509Certificate(renewed.certificatePem).checkPrivateKey(createPrivateKey(first.keyPem)))

  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  const edwards = generateKeyPairSync('ed25519').privateKey
  for (const keyPem of [pem(weak), pem(edwards), 'no key at all', authority.certificatePem]) {
    await t.rejects(issueFor(keyPem), { code: 'ERR_PKI_INVALID_KEY' })
  }
})

t.test('only an authority issues, and only with its own key', async t => {
  const leaf = await issueCertificate({ authority, commonName: 'x', usages: ['client'], now })
  const other = await createAuthority({ name: 'Test Platform CA', days: 365, now })
  const issueFrom = (from: { certificatePem: string; keyPem: string }) =>
    issueCertificate({ authority: from, commonName: 'x', usages: ['client'], now })
  await t.rejects(issueFrom(leaf), { code: 'ERR_PKI_NOT_AN_AUTHORITY' })
  await t.rejects(issueFrom({ ...authority, keyPem: other.keyPem }), { code: 'ERR_PKI_INVALID_KEY' })
  await t.rejects(issueFrom({ ...authority, certificatePem: '' }), { code: 'ERR_PKI_INVALID_CERTIFICATE' })
})

t.test('a name that could be read as another one is refused', async t => {
  const issue = (names: object) => issueCertificate({ authority, commonName: 'x', usages: ['server'], now, ...names })
  const refused = [
    { commonName: '' },
    { commonName: 'a\0b' },
    { commonName: 'a'.repeat(65) },
    { dnsNames: ['a.example, URI:spiffe://rap.internal/worker/1'] },
    { dnsNames: ['a.example\0.evil'] },
    { dnsNames: ['*'] },
    { dnsNames: ['*.example'] },
    { dnsNames: ['a.*.example'] },
    { dnsNames: ['-a.example'] },
    { dnsNames: ['a..example'] },
    { dnsNames: [''] },
    { dnsNames: [`${'a.'.repeat(126)}aa`] },
    { ipAddresses: ['192.0.2.256'] },
    { ipAddresses: ['fe80::1%eth0'] },
    { ipAddresses: ['192.0.2.0/24'] },
    { uris: ['spiffe://rap.internal/worker/1,DNS:a'] },
    { uris: ['no uri'] },
  ]
  for (const names of refused) await t.rejects(issue(names), { code: 'ERR_PKI_INVALID_NAME' }, JSON.stringify(names))
})

t.test('a common name is a value: nothing in it is parsed', async t => {
  for (const commonName of ['#0c0141', 'a, O=b', 'a+CN=b', '"quoted"', 'Zoë']) {
    const leaf = await issueCertificate({ authority, commonName, usages: ['client'], now })
    const { output } = openssl(['x509', '-in', 'leaf.pem', '-noout', '-subject', '-nameopt', 'utf8'], {
      'leaf.pem': leaf.certificatePem,
    })
    t.equal(output.trim().replace(/^subject=CN ?= ?/, ''), commonName)
  }
})
