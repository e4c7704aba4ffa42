import { DAY_MS, serialNumber, toPem, validityWithin } from './certificates.ts'
import { PkiError } from './errors.ts'
import { generateKeyPair, importKeyPair, type KeyPair, type KeyType } from './keys.ts'
import { type CertificateUsage, createLeaf } from './leaf.ts'
import { x509 } from './library.ts'
import { commonNameSubject, type SubjectNames } from './subject-names.ts'

/** A certificate authority: the key that signs, and its certificate (followed by the chain up to the root, if any). */
export interface Authority {
  readonly certificatePem: string
  readonly keyPem: string
}

export interface AuthorityOptions {
  readonly name: string
  /** Days of validity from `now`. */
  readonly days: number
  readonly now: Date
}

export interface CertificateOptions extends SubjectNames {
  readonly authority: Authority
  readonly commonName: string
  readonly usages: readonly CertificateUsage[]
  readonly now: Date
  /** Default 90 days after `now`; never later than the end of the authority. */
  readonly notAfter?: Date
  /** The subject's private key; default a fresh one of `keyType`. */
  readonly keyPem?: string
  /** Default `ec`. */
  readonly keyType?: KeyType
}

export interface IssuedCertificate {
  /** The leaf, then the intermediates; a self-signed root is left out, as RFC 8446 §4.4.2 allows. */
  readonly certificatePem: string
  readonly keyPem: string
}

const DEFAULT_DAYS = 90
/** A root may have one level of intermediates below it. */
const ROOT_PATH_LENGTH = 1

/**
 * Makes a self-signed root: ECDSA P-256, CA:TRUE with pathlen 1, keyCertSign and cRLSign.
 *
 * Spec: RFC 5280 §4.2.1. Throws PkiError INVALID_NAME, INVALID_VALIDITY.
 */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { now, days } = options
  const validity = validityWithin(now, new Date(now.getTime() + days * DAY_MS))
  const keys = await generateKeyPair('ec')
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serialNumber(),
    name: commonNameSubject(options.name),
    keys: { privateKey: keys.privateKey, publicKey: keys.publicKey },
    extensions: [
      new x509.BasicConstraintsExtension(true, ROOT_PATH_LENGTH, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificatePem: toPem(certificate), keyPem: keys.privateKeyPem }
}

/**
 * Issues an end-entity certificate for TLS: CA:FALSE, digitalSignature, the EKUs of `usages`, SANs, SKI and AKI, and a
 * random serial number of 128 bits.
 *
 * Throws PkiError INVALID_NAME, INVALID_VALIDITY, INVALID_KEY, INVALID_CERTIFICATE, NOT_AN_AUTHORITY.
 * INVARIANT: the certificate is valid only while its issuer is.
 */
export async function issueCertificate(options: CertificateOptions): Promise<IssuedCertificate> {
  const { authority, now } = options
  const chain = readChain(authority.certificatePem)
  const issuer = chain[0] as x509.X509Certificate
  const signer = await importKeyPair(authority.keyPem)
  await checkIssuer(issuer, signer)
  const subject = options.keyPem === undefined ? undefined : await importKeyPair(options.keyPem)
  const keys = subject ?? (await generateKeyPair(options.keyType ?? 'ec'))
  const notAfter = options.notAfter ?? new Date(now.getTime() + DEFAULT_DAYS * DAY_MS)
  const certificate = await createLeaf({
    ...options,
    issuer,
    signingKey: signer.privateKey,
    publicKey: await x509.PublicKey.create(keys.publicKey),
    validity: validityWithin(now, notAfter, issuer),
  })
  const intermediates = chain.filter(link => link.subject !== link.issuer)
  const certificatePem = [certificate, ...intermediates].map(toPem).join('')
  return { certificatePem, keyPem: keys.privateKeyPem }
}

function readChain(pem: string): x509.X509Certificate[] {
  try {
    const chain = x509.PemConverter.decode(pem).map(der => new x509.X509Certificate(der))
    if (chain.length > 0) return chain
  } catch (cause) {
    throw new PkiError('ERR_PKI_INVALID_CERTIFICATE', 'not a certificate', { field: 'authority' }, { cause })
  }
  throw new PkiError('ERR_PKI_INVALID_CERTIFICATE', 'no certificate', { field: 'authority' })
}

async function checkIssuer(issuer: x509.X509Certificate, signer: KeyPair): Promise<void> {
  if (issuer.getExtension(x509.BasicConstraintsExtension)?.ca !== true) {
    throw new PkiError('ERR_PKI_NOT_AN_AUTHORITY', 'issuer is not a certificate authority')
  }
  const own = Buffer.from(issuer.publicKey.rawData)
  const given = await x509.PublicKey.create(signer.publicKey)
  if (!own.equals(Buffer.from(given.rawData))) {
    throw new PkiError('ERR_PKI_INVALID_KEY', 'the key is not the one of the certificate', { field: 'authority' })
  }
}
