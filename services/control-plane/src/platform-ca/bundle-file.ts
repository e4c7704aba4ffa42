import { X509Certificate } from 'node:crypto'

/** Most certificates in a bundle: the CA of today, and those before and after it. */
const MAX_CERTIFICATES = 16
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/**
 * The CA certificates in a PEM file, written anew, so that nothing else in the file (a key that somebody left there) is
 * ever published. Throws TypeError where there is none, or where one is not a CA.
 */
export function readTrustBundle(pem: Buffer): string {
  const blocks = pem.toString('latin1').match(CERTIFICATE) ?? []
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES) {
    throw new TypeError('trust bundle holds no certificate or too many')
  }
  return blocks
    .map(block => {
      const certificate = new X509Certificate(block)
      if (!certificate.ca) throw new TypeError('trust bundle holds a certificate that is no CA')
      return certificate.toString()
    })
    .join('')
}
