import { requireValidAt } from './certificates.ts'
import { PkiError } from './errors.ts'
import { algorithmOf } from './keys.ts'
import { x509 } from './library.ts'
import type { ReadCertificate } from './pem.ts'
import { readAuthority, requireRoom } from './signing-authority.ts'

const HASHES = new Set(['SHA-256', 'SHA-384', 'SHA-512'])
/** Critical extensions that every verifier knows: basicConstraints, keyUsage, EKU, name and policy constraints. */
const KNOWN_CRITICAL = new Set([
  '2.5.29.19',
  '2.5.29.15',
  '2.5.29.37',
  '2.5.29.30',
  '2.5.29.32',
  '2.5.29.36',
  '2.5.29.54',
])

/**
 * Checks that a root and an intermediate from elsewhere can be the platform's CA, so that what it issues is accepted by
 * every peer: CA:TRUE, keyCertSign, room for the path, strong keys and signatures, self-signed root, intermediate issued
 * by it and within its life, both valid at `now`, usable for TLS. Keys are matched by `openAuthority`.
 *
 * Spec: RFC 5280 §4.2.1, §6.1. Throws PkiError; `facts.field` is `root` or `intermediate`, the message is the reason.
 */
export function checkImport(options: {
  readonly rootPem: string
  readonly intermediatePem: string
  readonly now: Date
}): void {
  const root = readUsable(options.rootPem, 'root', options.now)
  if (!isIssuedBy(root, root)) throw invalid('root', 'not self-signed')
  requireRoom(root.parsed, 1, 'root')

  const intermediate = readUsable(options.intermediatePem, 'intermediate', options.now)
  if (intermediate.parsed.subject === root.parsed.subject)
    throw invalid('intermediate', 'its name is the one of the root')
  if (!isIssuedBy(intermediate, root)) throw invalid('intermediate', 'not issued by this root')
  if (intermediate.parsed.notAfter > root.parsed.notAfter) {
    throw new PkiError('ERR_PKI_INVALID_VALIDITY', 'outlives the root', { field: 'intermediate' })
  }
}

function readUsable(pem: string, field: string, now: Date): ReadCertificate {
  const read = readAuthority(pem, field)
  const { parsed } = read
  algorithmOf(read.native.publicKey, field)
  if (!HASHES.has(hashOf(parsed))) throw invalid(field, 'signed with a weak or unknown algorithm')
  const unknown = parsed.extensions.find(({ critical, type }) => critical && !KNOWN_CRITICAL.has(type))
  if (unknown !== undefined) throw invalid(field, `critical extension ${unknown.type} is not known`)
  const purposes: readonly unknown[] | undefined = parsed.getExtension(x509.ExtendedKeyUsageExtension)?.usages
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage
  if (purposes !== undefined && !(purposes.includes(serverAuth) && purposes.includes(clientAuth))) {
    throw new PkiError('ERR_PKI_NOT_AN_AUTHORITY', 'extendedKeyUsage: serverAuth and clientAuth are not both there', {
      field,
    })
  }
  requireValidAt(now, parsed, field)
  return read
}

function hashOf(certificate: x509.X509Certificate): string {
  try {
    const { hash } = certificate.signatureAlgorithm as { hash?: { name?: string } | string }
    return (typeof hash === 'string' ? hash : hash?.name) ?? ''
  } catch {
    return ''
  }
}

function isIssuedBy(subject: ReadCertificate, issuer: ReadCertificate): boolean {
  return subject.native.checkIssued(issuer.native) && subject.native.verify(issuer.native.publicKey)
}

function invalid(field: string, message: string): PkiError {
  return new PkiError('ERR_PKI_INVALID_CERTIFICATE', message, { field })
}
