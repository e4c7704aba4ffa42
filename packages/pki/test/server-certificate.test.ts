import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import t from 'tap'
import { createAuthority, issueCertificate, PkiError, readServerCertificate } from '../src/index.ts'
import { x509 } from '../src/library.ts'

const now = new Date()
const authority = await createAuthority({ name: 'CA of somebody', days: 10, now })

t.test('a certificate says its names, its time and both fingerprints, as openssl has them', async t => {
  for (const keyType of ['rsa', 'ec'] as const) {
    const issued = await issueCertificate({
      authority,
      commonName: 'desktop',
      dnsNames: ['desktop.corp.example'],
      ipAddresses: ['192.0.2.7', '2001:db8::7'],
      usages: ['server'],
      keyType,
      now,
    })
    const reference = new X509Certificate(issued.certificatePem)
    const read = readServerCertificate(reference.raw)
    t.match(read, {
      fingerprintSha256: reference.fingerprint256.replaceAll(':', '').toLowerCase(),
      spkiSha256: createHash('sha256')
        .update(reference.publicKey.export({ type: 'spki', format: 'der' }))
        .digest('hex'),
      subject: 'CN=desktop',
      issuer: /CN=CA of somebody/,
      notBefore: reference.validFromDate,
      notAfter: reference.validToDate,
    })
    t.same(read.names, ['desktop.corp.example', '192.0.2.7', '2001:db8::7'])
  }
})

t.test('what an attacker writes into a certificate is bounded and printable', async t => {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify'])
  const forged = await x509.X509CertificateGenerator.createSelfSigned({
    keys,
    name: [{ CN: [`bank\u202Egpj.exe\u0000\n\u2028${'x'.repeat(2000)}`] }],
    notBefore: new Date('1950-01-01T00:00:00Z'),
    notAfter: new Date('9999-12-31T23:59:59Z'),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.SubjectAlternativeNameExtension(
        Array.from({ length: 40 }, (_, index) => ({ type: 'dns' as const, value: `h${index}-${'y'.repeat(260)}` })),
      ),
    ],
  })
  const read = readServerCertificate(new Uint8Array(forged.rawData))
  t.notMatch(read.subject, /[\p{C}\p{Zl}]/u)
  t.equal(read.subject.length, 512)
  t.equal(read.names.length, 32)
  t.ok(read.names.every(name => name.length <= 253))
})

t.test('anything that is no certificate, is cut or too long is refused', async t => {
  const { raw } = new X509Certificate(authority.certificatePem)
  for (let size = 0; size < raw.length; size += 7) {
    t.throws(() => readServerCertificate(raw.subarray(0, size)), { code: 'ERR_PKI_INVALID_CERTIFICATE' })
  }
  t.throws(() => readServerCertificate(Buffer.concat([raw, randomBytes(16_384)])), PkiError)
  for (let round = 0; round < 50; round++) t.throws(() => readServerCertificate(randomBytes(round * 4)), PkiError)
})
