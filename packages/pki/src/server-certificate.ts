import { createHash } from 'node:crypto'
import { PkiError } from './errors.ts'
import { x509 } from './library.ts'

/** Longest certificate that is read, in bytes of DER: those of servers have one to four thousand. */
export const MAX_SERVER_CERTIFICATE_BYTES = 16_384
/** Most names of a certificate that are told. */
const MAX_NAMES = 32
const MAX_NAME_CHARACTERS = 253
const MAX_DISTINGUISHED_NAME_CHARACTERS = 512
/** The first and the last moment that everything downstream can hold. */
const EARLIEST = new Date('1950-01-01T00:00:00Z')
const LATEST = new Date('9999-12-31T23:59:59Z')
/** Control and format characters, the ones that turn the direction of text included: a name is shown to people who decide by it. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu

/** What the certificate of any server says about itself. Nothing here is verified. */
export interface ServerCertificate {
  /** SHA-256 of the DER, lower-case hexadecimal. */
  readonly fingerprintSha256: string
  /** SHA-256 of the SubjectPublicKeyInfo as it stands there (RFC 7469 §2.4), lower-case hexadecimal. */
  readonly spkiSha256: string
  readonly subject: string
  readonly issuer: string
  /** DNS names and IP addresses of the SAN (RFC 5280 §4.2.1.6), the first 32. */
  readonly names: readonly string[]
  readonly notBefore: Date
  readonly notAfter: Date
}

/**
 * Reads a certificate that somebody else's server showed, possibly an attacker's.
 *
 * Throws PkiError INVALID_CERTIFICATE. INVARIANT: what it answers is bounded, and printable.
 */
export function readServerCertificate(der: Uint8Array): ServerCertificate {
  const refused = (cause?: unknown) => new PkiError('ERR_PKI_INVALID_CERTIFICATE', 'not a certificate', {}, { cause })
  if (der.length > MAX_SERVER_CERTIFICATE_BYTES) throw refused()
  try {
    const certificate = new x509.X509Certificate(new Uint8Array(der))
    return {
      fingerprintSha256: sha256(der),
      spkiSha256: sha256(new Uint8Array(certificate.publicKey.rawData)),
      subject: printable(certificate.subject, MAX_DISTINGUISHED_NAME_CHARACTERS),
      issuer: printable(certificate.issuer, MAX_DISTINGUISHED_NAME_CHARACTERS),
      names: namesOf(certificate),
      notBefore: within(certificate.notBefore),
      notAfter: within(certificate.notAfter),
    }
  } catch (cause) {
    throw refused(cause)
  }
}

function namesOf(certificate: x509.X509Certificate): string[] {
  try {
    return certificate
      .getExtensions(x509.SubjectAlternativeNameExtension)
      .flatMap(({ names }) => names.items)
      .filter(({ type }) => type === 'dns' || type === 'ip')
      .slice(0, MAX_NAMES)
      .map(({ value }) => printable(value, MAX_NAME_CHARACTERS))
  } catch {
    // A kind of name that the library does not read: none is told.
    return []
  }
}

function printable(text: string, maxCharacters: number): string {
  return [...text.replace(UNPRINTABLE, '\uFFFD')].slice(0, maxCharacters).join('')
}

function within(date: Date): Date {
  if (!(date.getTime() >= EARLIEST.getTime())) return EARLIEST
  return date.getTime() > LATEST.getTime() ? LATEST : date
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
