import { X509Certificate } from 'node:crypto'
import { PkiError, type PkiErrorCode } from './errors.ts'
import { x509 } from './library.ts'

/** Longest PEM of one certificate that is looked at, in characters. */
export const MAX_CERTIFICATE_CHARACTERS = 16_384

/**
 * The DER of a text that is exactly one PEM block of this label (RFC 7468 §3, without the explanatory text).
 * Throws PkiError `code` for anything longer, beside it or twice: what one reader skips another one believes.
 */
export function readPemBlock(
  pem: string,
  { label, max, code, field }: { label: string; max: number; code: PkiErrorCode; field: string },
): Buffer<ArrayBuffer> {
  if (typeof pem !== 'string' || pem.length > max) throw new PkiError(code, 'over the bound', { field })
  const block = new RegExp(
    `^\\s*-----BEGIN ${label}-----\\r?\\n([A-Za-z0-9+/=\\r\\n]+)-----END ${label}-----\\s*$`,
  ).exec(pem)
  const base64 = block?.[1]?.replace(/[\r\n]/g, '') ?? ''
  const der = Buffer.from(base64, 'base64')
  if (der.length === 0 || der.toString('base64') !== base64) {
    throw new PkiError(code, `not one PEM block of a ${label.toLowerCase()}`, { field })
  }
  return der
}

/** A certificate as both libraries read it: node:crypto verifies, the other one knows the extensions. */
export interface ReadCertificate {
  readonly native: X509Certificate
  readonly parsed: x509.X509Certificate
}

/** Reads the PEM of exactly one certificate. Throws PkiError INVALID_CERTIFICATE with the field. */
export function readCertificate(pem: string, field: string): ReadCertificate {
  const code = 'ERR_PKI_INVALID_CERTIFICATE'
  const der = readPemBlock(pem, { label: 'CERTIFICATE', max: MAX_CERTIFICATE_CHARACTERS, code, field })
  let read: ReadCertificate
  try {
    read = { native: new X509Certificate(der), parsed: new x509.X509Certificate(der) }
  } catch (cause) {
    throw new PkiError(code, 'not a certificate', { field }, { cause })
  }
  if (!read.native.raw.equals(der)) throw new PkiError(code, 'bytes follow the certificate', { field })
  return read
}
