import { randomBytes, webcrypto } from 'node:crypto'
import { authorityKeyIdentifier, DAY_MS, requireValidAt, serialNumber, toPem, validityWithin } from './certificates.ts'
import { PkiError } from './errors.ts'
import { algorithmOf, P256, P384, signatureAlgorithmOf } from './keys.ts'
import { x509 } from './library.ts'
import { type ReadCertificate, readCertificate } from './pem.ts'
import { commonNameSubject } from './subject-names.ts'

/** An authority that can sign. */
export interface SigningAuthority {
  /** The one certificate of its key. */
  readonly certificatePem: string
  /** INVARIANT: not extractable, for signing alone. */
  readonly privateKey: webcrypto.CryptoKey
}

/** An authority just made, whose key is still to be put away. */
export interface NewAuthority {
  readonly certificatePem: string
  /** PKCS#8 DER; the caller zeroes it. */
  readonly privateKey: Buffer
}

export interface RootOptions {
  readonly name: string
  /** Days of validity from `now`. */
  readonly days: number
  readonly now: Date
}

/** Room for a cross-certificate and an intermediate below it: the path of a rotation (RFC 5280 §4.2.1.9). */
const ROOT_PATH_LENGTH = 2
const { keyCertSign, cRLSign, digitalSignature } = x509.KeyUsageFlags

/**
 * Makes a self-signed root: ECDSA P-384, CA:TRUE with pathlen 2, keyCertSign, cRLSign, and digitalSignature for trust bundles.
 *
 * Spec: RFC 5280 §4.2.1. Throws PkiError INVALID_NAME, INVALID_VALIDITY.
 */
export async function createRoot({ name, days, now }: RootOptions): Promise<NewAuthority> {
  const validity = validityWithin(now, new Date(now.getTime() + days * DAY_MS))
  requireValidAt(now, validity)
  const subject = commonNameSubject(name)
  const keys = await webcrypto.subtle.generateKey(P384, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject,
    issuer: subject,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: signatureAlgorithmOf(keys.privateKey),
    extensions: [
      new x509.BasicConstraintsExtension(true, ROOT_PATH_LENGTH, true),
      new x509.KeyUsagesExtension(keyCertSign | cRLSign | digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificatePem: toPem(certificate), privateKey: await pkcs8Of(keys.privateKey) }
}

/**
 * Makes an intermediate below a root: ECDSA P-256, CA:TRUE with pathlen 0, keyCertSign and cRLSign.
 *
 * Throws PkiError INVALID_NAME (also for the name of the root itself), INVALID_VALIDITY, NOT_AN_AUTHORITY, PATH_LENGTH.
 * INVARIANT: it never outlives the root.
 */
export async function createIntermediate(
  options: RootOptions & { readonly root: SigningAuthority },
): Promise<NewAuthority> {
  const { root, name, days, now } = options
  const issuer = readAuthority(root.certificatePem, 'root').parsed
  requireRoom(issuer, 1, 'root')
  const subject = commonNameSubject(name)
  // Such a certificate looks self-signed to whoever sorts a chain by its names.
  if (subject.toString() === issuer.subject) {
    throw new PkiError('ERR_PKI_INVALID_NAME', 'the name is the one of the root', { field: 'name' })
  }
  const validity = validityWithin(now, new Date(now.getTime() + days * DAY_MS), issuer)
  requireValidAt(now, validity)
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject,
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey: root.privateKey,
    signingAlgorithm: signatureAlgorithmOf(root.privateKey),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await authorityKeyIdentifier(issuer),
    ],
  })
  return { certificatePem: toPem(certificate), privateKey: await pkcs8Of(keys.privateKey) }
}

/**
 * Opens an authority: the PEM of its one certificate, and its key as PKCS#8 DER, which the caller zeroes.
 *
 * Throws PkiError INVALID_CERTIFICATE, NOT_AN_AUTHORITY (not a CA that may sign certificates), INVALID_KEY (not the
 * certificate's key, or of a kind that is not used here).
 */
export async function openAuthority(certificatePem: string, pkcs8: Uint8Array): Promise<SigningAuthority> {
  const { native } = readAuthority(certificatePem, 'certificatePem')
  const { publicKey } = native
  const algorithm = algorithmOf(publicKey, 'certificatePem')
  let privateKey: webcrypto.CryptoKey
  try {
    privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign'])
  } catch {
    // The cause is left out: an error of the parser may quote its input.
    throw new PkiError('ERR_PKI_INVALID_KEY', 'not a private key of the kind in the certificate', { field: 'pkcs8' })
  }
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const verifier = await webcrypto.subtle.importKey('spki', spki, algorithm, false, ['verify'])
  const challenge = randomBytes(32)
  const signing = signatureAlgorithmOf(privateKey)
  const signature = await webcrypto.subtle.sign(signing, privateKey, challenge)
  if (!(await webcrypto.subtle.verify(signing, verifier, signature, challenge))) {
    throw new PkiError('ERR_PKI_INVALID_KEY', 'the key is not the one of the certificate', { field: 'pkcs8' })
  }
  return { certificatePem, privateKey }
}

/** Reads the certificate of a CA that may sign certificates. Throws PkiError INVALID_CERTIFICATE, NOT_AN_AUTHORITY. */
export function readAuthority(pem: string, field: string): ReadCertificate {
  const read = readCertificate(pem, field)
  const refuse = (message: string) => new PkiError('ERR_PKI_NOT_AN_AUTHORITY', message, { field })
  const extensions = read.parsed.extensions
  if (new Set(extensions.map(({ type }) => type)).size !== extensions.length) {
    throw new PkiError('ERR_PKI_INVALID_CERTIFICATE', 'an extension stands twice', { field })
  }
  if (read.parsed.getExtension(x509.BasicConstraintsExtension)?.ca !== true) throw refuse('basicConstraints: not a CA')
  const usages = read.parsed.getExtension(x509.KeyUsagesExtension)?.usages ?? 0
  if ((usages & keyCertSign) === 0) throw refuse('keyUsage: keyCertSign is missing')
  return read
}

/** Throws PkiError PATH_LENGTH where `issuer` allows fewer than `authorities` authorities below it. */
export function requireRoom(issuer: x509.X509Certificate, authorities: number, field: string): void {
  const { pathLength } = issuer.getExtension(x509.BasicConstraintsExtension) ?? {}
  if (pathLength === undefined || pathLength >= authorities) return
  throw new PkiError('ERR_PKI_PATH_LENGTH', `the path length is under ${authorities}`, { field })
}

async function pkcs8Of(key: webcrypto.CryptoKey): Promise<Buffer> {
  return Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
}
