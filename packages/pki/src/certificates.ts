import { randomBytes } from 'node:crypto'
import { PkiError } from './errors.ts'
import { x509 } from './library.ts'

export const DAY_MS = 24 * 60 * 60 * 1000
/** Clocks of peers may be this far behind and still accept a fresh certificate. */
const CLOCK_SKEW_MS = 5 * 60 * 1000

export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/**
 * The validity of a certificate that is issued `now`: from five minutes ago until `notAfter`, and never outside of the
 * `within` of those above it. Throws PkiError INVALID_VALIDITY where it would end before it begins.
 */
export function validityWithin(now: Date, notAfter: Date, ...within: readonly Validity[]): Validity {
  const begin = Math.max(now.getTime() - CLOCK_SKEW_MS, ...within.map(outer => outer.notBefore.getTime()))
  const end = Math.min(notAfter.getTime(), ...within.map(outer => outer.notAfter.getTime()))
  if (begin < end) return { notBefore: new Date(begin), notAfter: new Date(end) }
  throw invalidValidity('the validity would end before it begins', new Date(begin), new Date(end))
}

/** Throws PkiError INVALID_VALIDITY for what is not valid at `now`. */
export function requireValidAt(now: Date, { notBefore, notAfter }: Validity, field?: string): void {
  if (notBefore <= now && now < notAfter) return
  throw invalidValidity(now < notBefore ? 'not valid yet' : 'has ended', notBefore, notAfter, field)
}

/** 128 random bits in hexadecimal (RFC 5280 §4.1.2.2 wants a positive number; the library sees to the sign). */
export function serialNumber(): string {
  return randomBytes(16).toString('hex')
}

/** PEM of a certificate, with its final line end. */
export function toPem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

/**
 * The authority key identifier of what `issuer` signs: the issuer's own subject key identifier, however that was made,
 * since a path is refused where the two differ (RFC 5280 §4.2.1.1).
 */
export async function authorityKeyIdentifier(
  issuer: x509.X509Certificate,
): Promise<x509.AuthorityKeyIdentifierExtension> {
  const own = issuer.getExtension(x509.SubjectKeyIdentifierExtension)
  if (own !== null) return new x509.AuthorityKeyIdentifierExtension(own.keyId)
  return await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)
}

function invalidValidity(message: string, notBefore: Date, notAfter: Date, field?: string): PkiError {
  return new PkiError('ERR_PKI_INVALID_VALIDITY', message, {
    ...(field === undefined ? {} : { field }),
    notBefore: text(notBefore),
    notAfter: text(notAfter),
  })
}

function text(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'invalid' : date.toISOString()
}
