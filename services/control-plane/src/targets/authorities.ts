import { X509Certificate } from 'node:crypto'
import { readServerCertificate } from '@rap/pki'
import { MAX_TARGET_AUTHORITIES, MAX_TARGET_AUTHORITY_CHARACTERS } from '@rap/token-claims'
import { problems } from '../errors.ts'

/** Longest PEM text that is looked at, in characters: what fits into an order, with lines and headers around. */
export const MAX_AUTHORITIES_PEM_CHARACTERS = 12_288
const BLOCK = /-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/g

/** One certificate of an enrolled authority, for people. */
export interface Authority {
  readonly subject: string
  readonly fingerprint_sha256: string
  readonly not_before: string
  readonly not_after: string
}

/**
 * Reads the authority that a resource gets as its own, as base64 DER. It may be an issuing authority alone: then nothing else that its root
 * signs counts. Throws ProblemError ERR_TARGET_CA_INVALID with the reason.
 */
export function readAuthorities(pem: string, now: Date): string[] {
  if (pem.length > MAX_AUTHORITIES_PEM_CHARACTERS) throw invalid('It is too long')
  if (pem.replace(BLOCK, '').trim() !== '') throw invalid('There is something else than certificates in it')
  const blocks = pem.match(BLOCK) ?? []
  if (blocks.length === 0) throw invalid('There is no certificate in it')
  if (blocks.length > MAX_TARGET_AUTHORITIES)
    throw invalid(`There are more than ${MAX_TARGET_AUTHORITIES} certificates in it`)
  const ders = blocks.map((block, index) => readAuthority(block, `Certificate ${index + 1}`, now))
  const distinct = [...new Set(ders.map(der => der.toString('base64')))]
  if (distinct.join('').length > MAX_TARGET_AUTHORITY_CHARACTERS)
    throw invalid('The certificates are too long together')
  return distinct
}

/** What people see of an authority that is enrolled. */
export function describeAuthorities(base64: readonly string[]): Authority[] {
  return base64.map(text => {
    const { subject, fingerprintSha256, notBefore, notAfter } = readServerCertificate(Buffer.from(text, 'base64'))
    return {
      subject,
      fingerprint_sha256: fingerprintSha256,
      not_before: notBefore.toISOString(),
      not_after: notAfter.toISOString(),
    }
  })
}

function readAuthority(pem: string, what: string, now: Date): Buffer {
  const certificate = parse(pem, what)
  // A leaf in the place of an authority would be a pin that nobody called so.
  if (!certificate.ca) throw invalid(`${what} is not of an authority (RFC 5280 §4.2.1.9)`)
  const { notAfter } = readServerCertificate(certificate.raw)
  if (notAfter <= now) throw invalid(`${what} has expired`)
  return certificate.raw
}

function parse(pem: string, what: string): X509Certificate {
  try {
    const certificate = new X509Certificate(pem)
    // The other reader has to know it as well: it describes the authority to people.
    readServerCertificate(certificate.raw)
    return certificate
  } catch {
    throw invalid(`${what} cannot be read`)
  }
}

function invalid(detail: string) {
  return problems.ERR_TARGET_CA_INVALID({ detail })
}
