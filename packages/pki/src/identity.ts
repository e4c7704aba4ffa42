import type { X509Certificate } from 'node:crypto'
import { x509 } from './library.ts'
import { parseSpiffeId } from './spiffe.ts'

/**
 * The SPIFFE ID that a peer's certificate carries, or undefined when it carries none that counts.
 *
 * Spec: X509-SVID §2 and §5.2: a leaf with exactly one URI SAN, which is a SPIFFE ID. The certificate must have been
 * verified against the platform CA by the TLS layer: this only reads it.
 *
 * The SAN is decoded from DER. The `subjectAltName` text of node:crypto joins the names with commas, and a DNS name can
 * hold the characters of another entry (CVE-2021-44532), so splitting that text lets a name forge an identity.
 */
export function identityOfCertificate(certificate: X509Certificate): string | undefined {
  if (certificate.ca) return undefined
  let names: readonly { readonly type: string; readonly value: string }[]
  try {
    const parsed = new x509.X509Certificate(new Uint8Array(certificate.raw))
    const [extension, ...more] = parsed.getExtensions(x509.SubjectAlternativeNameExtension)
    // RFC 5280 §4.2 forbids a second extension of one kind; which of two would count is a guess.
    if (extension === undefined || more.length > 0) return undefined
    names = extension.names.items
  } catch {
    // A kind of name that the library does not read: nothing this platform issues.
    return undefined
  }
  const [uri, ...others] = names.filter(name => name.type === 'url')
  if (uri === undefined || others.length > 0) return undefined
  return parseSpiffeId(uri.value) === undefined ? undefined : uri.value
}
