import { X509Certificate } from 'node:crypto'
import { MAX_SERVER_CERTIFICATE_BYTES, PkiError, readServerCertificate, type ServerCertificate } from '@rap/pki'
import { problems } from '../errors.ts'

/** Most certificates of a chain that a worker reports, the leaf included. */
export const MAX_CHAIN = 6
/** Longest chain, in bytes of DER. */
export const MAX_CHAIN_BYTES = 40_960
/** One certificate in base64. */
export const MAX_CERTIFICATE_CHARACTERS = Math.ceil(MAX_SERVER_CERTIFICATE_BYTES / 3) * 4

/** What a target showed. */
export interface ShownCertificate extends ServerCertificate {
  /** Base64 DER, the leaf first. */
  readonly chain: readonly string[]
}

/**
 * Reads the chain that a worker reports. The fingerprints are computed here: a worker names no certificate that it has not in its hands.
 * Throws ProblemError ERR_TARGET_CERTIFICATE_INVALID.
 */
export function readShown(base64: readonly string[]): ShownCertificate {
  const chain = base64.map(text => Buffer.from(text, 'base64'))
  const [leaf] = chain
  const bytes = chain.reduce((sum, { length }) => sum + length, 0)
  if (leaf === undefined || chain.length > MAX_CHAIN || bytes > MAX_CHAIN_BYTES) {
    throw problems.ERR_TARGET_CERTIFICATE_INVALID()
  }
  try {
    return { ...readServerCertificate(leaf), chain: chain.map(der => der.toString('base64')) }
  } catch (cause) {
    if (cause instanceof PkiError) throw problems.ERR_TARGET_CERTIFICATE_INVALID({ cause })
    throw cause
  }
}

/** PEM of certificates that are kept as base64 DER (RFC 7468 §5.1). */
export function pemOf(chain: readonly string[]): string {
  const blocks = chain.map(base64 => {
    const lines = base64.match(/.{1,64}/g) ?? []
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
  })
  return blocks.join('')
}

/** True where the certificate is signed with its own key; it may say so of itself and be shown as what it is. */
export function isSelfSigned(base64: string): boolean {
  try {
    const certificate = new X509Certificate(Buffer.from(base64, 'base64'))
    return certificate.verify(certificate.publicKey)
  } catch {
    return false
  }
}
