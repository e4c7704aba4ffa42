import { createHash, X509Certificate } from 'node:crypto'
import { PkiError } from './errors.ts'

/**
 * The confirmation value `x5t#S256` of a certificate: base64url of SHA-256 over its DER.
 *
 * Spec: RFC 8705 §3.1, RFC 7515 §4.1.8. Takes DER or PEM (the first certificate of a chain).
 * Throws PkiError INVALID_CERTIFICATE.
 */
export function certificateThumbprint(certificate: Buffer | string): string {
  return createHash('sha256').update(derOf(certificate)).digest('base64url')
}

/** SHA-256 of a certificate's DER as people compare it: 32 upper-case hexadecimal pairs with colons between. */
export function sha256Fingerprint(der: Uint8Array): string {
  const hex = createHash('sha256').update(der).digest('hex').toUpperCase()
  return hex.match(/../g)?.join(':') ?? ''
}

/** DER of the first certificate in PEM text, or of a DER certificate, parsed once so that nothing else passes. */
export function derOf(certificate: Buffer | string): Buffer {
  try {
    return new X509Certificate(certificate).raw
  } catch (cause) {
    throw new PkiError('ERR_PKI_INVALID_CERTIFICATE', 'not a certificate', {}, { cause })
  }
}
