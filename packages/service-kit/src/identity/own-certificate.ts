import { X509Certificate } from 'node:crypto'
import { identityOfCertificate, parseSpiffeId, type SpiffeIdentity, type SpiffeKind } from '@rap/pki'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g
/** Longest chain that is read: leaf, intermediate, a cross-certificate or two, and room. */
const MAX_CHAIN = 16

/** The certificates in PEM text, in their order. Throws where one cannot be parsed, or where there are too many. */
export function certificatesOf(pem: string | Buffer): X509Certificate[] {
  const blocks = pem.toString('latin1').match(CERTIFICATE) ?? []
  if (blocks.length > MAX_CHAIN) throw new RangeError('too many certificates')
  return blocks.map(block => new X509Certificate(block))
}

export interface ExpectedIdentity {
  readonly trustDomain: string
  readonly kind: SpiffeKind
  /** Absent: any of this kind. */
  readonly id?: string | undefined
}

/** The identity of a certificate, where it is the expected one; otherwise what it is instead, for people. */
export function expectedIdentity(
  certificate: X509Certificate,
  { trustDomain, kind, id }: ExpectedIdentity,
): { readonly identity: SpiffeIdentity } | { readonly received: string } {
  const received = identityOfCertificate(certificate)
  const identity = received === undefined ? undefined : parseSpiffeId(received)
  const fits =
    identity?.trustDomain === trustDomain && identity.kind === kind && (id === undefined || identity.id === id)
  return fits ? { identity } : { received: received ?? 'none' }
}

/** An expected identity as text: its SPIFFE ID, with a star where any id is welcome. */
export function identityText({ trustDomain, kind, id = '*' }: ExpectedIdentity): string {
  return `spiffe://${trustDomain}/${kind}/${id}`
}

/**
 * Whether the first certificate leads, by names and signatures, through the others to one of the roots.
 *
 * It says whose certificate it is. Whether a peer would take it (validity, usages, constraints) is not looked at.
 */
export function chainsTo(chain: readonly X509Certificate[], roots: readonly X509Certificate[]): boolean {
  const [leaf, ...others] = chain
  return leaf !== undefined && leadsTo(leaf, others, roots)
}

function leadsTo(
  certificate: X509Certificate,
  others: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): boolean {
  if (roots.some(root => isIssuedBy(certificate, root))) return true
  return others.some(
    issuer =>
      isIssuedBy(certificate, issuer) &&
      leadsTo(
        issuer,
        others.filter(other => other !== issuer),
        roots,
      ),
  )
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}
