import { X509Certificate } from 'node:crypto'
import { requireValidAt, toPem, validityWithin } from './certificates.ts'
import type { ReadCsr } from './csr.ts'
import { PkiError } from './errors.ts'
import { certificateThumbprint } from './fingerprints.ts'
import { type CertificateUsage, createLeaf } from './leaf.ts'
import { x509 } from './library.ts'
import { MAX_CERTIFICATE_CHARACTERS, readCertificate } from './pem.ts'
import { readAuthority, type SigningAuthority } from './signing-authority.ts'
import type { SubjectNames } from './subject-names.ts'

export interface CsrIssueOptions extends SubjectNames {
  readonly issuer: SigningAuthority
  /** What is sent below the leaf, in order: the issuer's own certificate, then those above it, without a root. */
  readonly chainPem: string
  /** Its key is certified; its names are not looked at. */
  readonly csr: ReadCsr
  readonly commonName: string
  readonly usages: readonly CertificateUsage[]
  readonly now: Date
  /** Never later than the end of anything in the chain. */
  readonly notAfter: Date
}

export interface CsrCertificate {
  /** The leaf, then the chain. */
  readonly certificatePem: string
  /** Lower-case hexadecimal, as `X509Certificate.serialNumber` has it in upper case. */
  readonly serial: string
  /** RFC 8705 `x5t#S256`. */
  readonly thumbprint: string
  readonly notBefore: Date
  readonly notAfter: Date
}

/** Most authorities that are sent along. */
const MAX_CHAIN = 4

/**
 * Issues a TLS certificate for the key of a request, with the names that the caller gives.
 *
 * Throws PkiError INVALID_NAME, INVALID_VALIDITY (nothing that is valid now), INVALID_CERTIFICATE (a chain that does not
 * begin with the issuer, or in which one is not issued by the next), NOT_AN_AUTHORITY.
 * INVARIANT: the certificate is valid only while everything in its chain is.
 */
export async function issueFromCsr(options: CsrIssueOptions): Promise<CsrCertificate> {
  const { issuer, now } = options
  const above = readAuthority(issuer.certificatePem, 'issuer')
  const chain = readIssuingChain(options.chainPem, above.native)
  const validity = validityWithin(now, options.notAfter, ...chain.map(link => link.parsed))
  requireValidAt(now, validity)
  const certificate = await createLeaf({
    ...options,
    issuer: above.parsed,
    signingKey: issuer.privateKey,
    publicKey: new x509.PublicKey(Buffer.from(options.csr.spki)),
    validity,
  })
  const leaf = toPem(certificate)
  return {
    certificatePem: [leaf, ...chain.map(link => toPem(link.parsed))].join(''),
    serial: new X509Certificate(leaf).serialNumber.toLowerCase(),
    thumbprint: certificateThumbprint(leaf),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
  }
}

function readIssuingChain(pem: string, issuer: X509Certificate) {
  const refuse = (message: string) => new PkiError('ERR_PKI_INVALID_CERTIFICATE', message, { field: 'chainPem' })
  if (pem.length > MAX_CHAIN * MAX_CERTIFICATE_CHARACTERS) throw refuse('over the bound')
  const blocks = pem.split(/(?<=-----END CERTIFICATE-----)\s*/).filter(block => block.trim() !== '')
  if (blocks.length > MAX_CHAIN) throw refuse('over the bound')
  const chain = blocks.map(block => readCertificate(block, 'chainPem'))
  if (chain[0]?.native.raw.equals(issuer.raw) !== true) throw refuse('does not begin with the issuer')
  for (const [index, { native }] of chain.entries()) {
    const next = chain[index + 1]?.native
    if (next !== undefined && !(native.checkIssued(next) && native.verify(next.publicKey))) {
      throw refuse('a certificate is not issued by the next')
    }
  }
  return chain
}
