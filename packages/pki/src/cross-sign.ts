import { authorityKeyIdentifier, requireValidAt, serialNumber, toPem, validityWithin } from './certificates.ts'
import { PkiError } from './errors.ts'
import { signatureAlgorithmOf } from './keys.ts'
import { x509 } from './library.ts'
import { readAuthority, requireRoom, type SigningAuthority } from './signing-authority.ts'

/** What is said of the issuer of the original, and so not copied: AKI, issuerAltName, CRL and AIA addresses. */
const OF_THE_ISSUER = new Set(['2.5.29.35', '2.5.29.18', '2.5.29.31', '2.5.29.46', '1.3.6.1.5.5.7.1.1'])

/**
 * Certifies a root once more under another issuer: its own subject, key, SKI, path length and limits, so that a peer that
 * knows `issuer` alone finds a path to what stands below the root.
 *
 * Spec: RFC 5280 §3.2 (cross-certificates). Throws PkiError INVALID_CERTIFICATE (not self-signed), INVALID_VALIDITY,
 * NOT_AN_AUTHORITY, PATH_LENGTH where the issuer allows no two authorities below it.
 * INVARIANT: it outlives neither the issuer nor the root.
 */
export async function crossSign(options: {
  readonly issuer: SigningAuthority
  readonly certificatePem: string
  readonly now: Date
}): Promise<string> {
  const { issuer, now } = options
  const above = readAuthority(issuer.certificatePem, 'issuer').parsed
  requireRoom(above, 2, 'issuer')
  const { native, parsed: root } = readAuthority(options.certificatePem, 'certificatePem')
  if (!native.checkIssued(native) || !native.verify(native.publicKey)) {
    throw new PkiError('ERR_PKI_INVALID_CERTIFICATE', 'not a self-signed root', { field: 'certificatePem' })
  }
  requireRoom(root, 1, 'certificatePem')
  const validity = validityWithin(now, root.notAfter, above, root)
  requireValidAt(now, validity)
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject: root.subjectName,
    issuer: above.subjectName,
    publicKey: root.publicKey,
    signingKey: issuer.privateKey,
    signingAlgorithm: signatureAlgorithmOf(issuer.privateKey),
    extensions: [
      ...root.extensions.filter(({ type }) => !OF_THE_ISSUER.has(type)),
      await authorityKeyIdentifier(above),
    ],
  })
  return toPem(certificate)
}
