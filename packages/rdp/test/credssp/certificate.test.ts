import { createHash, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { subjectPublicKeyOf, tlsServerEndPointOf } from '../../src/credssp/certificate.ts'
import { WireError } from '../../src/errors.ts'
import { ECDSA_SHA384, ED25519, RSA_SHA1, RSA_SHA256, RSASSA_PSS_SHA256 } from './certificates.ts'
import { toHex } from './helper.ts'

const spkiOf = (certificate: Uint8Array) =>
  new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })

t.test('the subjectPublicKey is the content of the BIT STRING in the SubjectPublicKeyInfo', async t => {
  const pkcs1 = new X509Certificate(RSA_SHA256).publicKey.export({ type: 'pkcs1', format: 'der' })
  t.equal(toHex(subjectPublicKeyOf(RSA_SHA256)), toHex(pkcs1), 'an RSAPublicKey')
  for (const certificate of [RSA_SHA256, RSA_SHA1, ECDSA_SHA384, RSASSA_PSS_SHA256, ED25519]) {
    const key = subjectPublicKeyOf(certificate)
    t.ok(key.length >= 32)
    t.ok(toHex(spkiOf(certificate)).endsWith(`00${toHex(key)}`))
  }
  t.equal(subjectPublicKeyOf(ECDSA_SHA384)[0], 4, 'an uncompressed point')
})

t.test(
  'the channel binding hashes the certificate with the hash of its signature, SHA-256 instead of SHA-1',
  async t => {
    const vectors: [Uint8Array, string][] = [
      [RSA_SHA256, 'sha256'],
      [RSA_SHA1, 'sha256'],
      [ECDSA_SHA384, 'sha384'],
      [RSASSA_PSS_SHA256, 'sha256'],
    ]
    for (const [certificate, hash] of vectors) {
      t.equal(toHex(tlsServerEndPointOf(certificate)!), createHash(hash).update(certificate).digest('hex'), hash)
    }
    t.equal(tlsServerEndPointOf(ED25519), undefined, 'RFC 5929 defines none')
  },
)

t.test('every truncated prefix and every extra byte is refused', async t => {
  for (const decode of [subjectPublicKeyOf, tlsServerEndPointOf]) {
    for (let size = 0; size < ED25519.length; size++) {
      t.throws(() => decode(ED25519.subarray(0, size)), { code: 'ERR_WIRE_TRUNCATED' }, `${size} bytes`)
    }
    t.throws(() => decode(Buffer.concat([ED25519, new Uint8Array(1)])), { code: 'ERR_WIRE_TRAILING_BYTES' })
    t.throws(() => decode(new Uint8Array(40_000)), { code: 'ERR_WIRE_TOO_LARGE' })
  }
})

t.test('changed bytes of a certificate end in a key or a WireError', async t => {
  const change = fc.record({ at: fc.nat(ED25519.length - 1), byte: fc.nat(255) })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), changes => {
        const bytes = Uint8Array.from(ED25519)
        for (const { at, byte } of changes) bytes[at] = byte
        try {
          subjectPublicKeyOf(bytes)
          tlsServerEndPointOf(bytes)
          return true
        } catch (error) {
          return error instanceof WireError
        }
      }),
      { numRuns: 1000 },
    ),
  )
})
