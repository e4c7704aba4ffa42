import { createHash } from 'node:crypto'
import { contextTag, DER_TAG, DerReader } from '../der.ts'

/** 32 KiB holds every certificate a TLS server sends in practice. */
const MAX_CERTIFICATE_BYTES = 32_768
const STRUCTURE = 'Certificate'

/** Hash of a signature algorithm. Spec: RFC 8017 §A.2, RFC 5758 §3. */
const HASH_OF_SIGNATURE: ReadonlyMap<string, string> = new Map([
  // RFC 5929 §4.1: MD5 and SHA-1 are replaced by SHA-256.
  ['1.2.840.113549.1.1.4', 'sha256'],
  ['1.2.840.113549.1.1.5', 'sha256'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.1', 'sha256'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
])
const RSASSA_PSS = '1.2.840.113549.1.1.10'
/** hashAlgorithm of RSASSA-PSS-params: RFC 4055 §2.1. */
const HASH_OF_PSS: ReadonlyMap<string, string> = new Map([
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
])

/**
 * The subjectPublicKey of a certificate: the content of its BIT STRING, which CredSSP binds to.
 *
 * Spec: RFC 5280 §4.1, [MS-CSSP] §3.1.5 ("SubjectPublicKey sub-field"). Nothing else of the certificate is judged.
 * Throws WireError like {@link DerReader}.
 */
export function subjectPublicKeyOf(certificateDer: Uint8Array): Uint8Array {
  const { tbsCertificate } = readCertificate(certificateDer)
  if (tbsCertificate.peek() === contextTag(0)) tbsCertificate.element('version')
  tbsCertificate.content(DER_TAG.INTEGER, 'serialNumber')
  for (const field of ['signature', 'issuer', 'validity', 'subject']) tbsCertificate.element(field)
  const info = tbsCertificate.sequence('subjectPublicKeyInfo')
  info.sequence('algorithm')
  const { bytes } = info.bitString('subjectPublicKey')
  info.end()
  return bytes
}

/**
 * The tls-server-end-point channel binding of a certificate, or undefined where RFC 5929 defines none (Ed25519).
 *
 * Spec: RFC 5929 §4.1. Throws WireError like {@link DerReader}.
 */
export function tlsServerEndPointOf(certificateDer: Uint8Array): Uint8Array | undefined {
  const { signatureAlgorithm } = readCertificate(certificateDer)
  const algorithm = signatureAlgorithm.oid('algorithm')
  const hash = algorithm === RSASSA_PSS ? pssHash(signatureAlgorithm) : HASH_OF_SIGNATURE.get(algorithm)
  return hash === undefined ? undefined : createHash(hash).update(certificateDer).digest()
}

function readCertificate(certificateDer: Uint8Array) {
  const reader = new DerReader(certificateDer, STRUCTURE, { maxBytes: MAX_CERTIFICATE_BYTES })
  const certificate = reader.sequence(STRUCTURE)
  reader.end()
  const tbsCertificate = certificate.sequence('tbsCertificate')
  const signatureAlgorithm = certificate.sequence('signatureAlgorithm')
  certificate.bitString('signatureValue')
  certificate.end()
  return { tbsCertificate, signatureAlgorithm }
}

function pssHash(algorithm: DerReader): string | undefined {
  const hashAlgorithm = algorithm.sequence('parameters').optionalExplicit(0, 'hashAlgorithm')
  // The DEFAULT is SHA-1, which RFC 5929 replaces.
  if (hashAlgorithm === undefined) return 'sha256'
  return HASH_OF_PSS.get(hashAlgorithm.sequence('hashAlgorithm').oid('algorithm'))
}
