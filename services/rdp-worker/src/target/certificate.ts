import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import { readServerCertificate } from '@rap/pki'
import { TargetFailure } from './failure.ts'

/** Most certificates of a chain that are reported, the leaf included; the control plane takes no more. */
const MAX_CHAIN = 6
/** Longest certificate beside the leaf, and longest chain, in bytes of DER; the control plane takes no more. */
const MAX_ISSUER_BYTES = 16_384
const MAX_CHAIN_BYTES = 40_960

/** How the certificate of a target is verified. */
export interface CertificateRule {
  /** `certificate_verification_mode` of the resource. */
  readonly mode: 'strict' | 'platform_ca' | 'pinned' | 'insecure'
  /** SHA-256 of the leaf's DER, hexadecimal; several, so that the next one can be pinned before a renewal. */
  readonly pins: readonly string[]
  /** SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
  readonly publicKeyPins: readonly string[]
  /** Base64 DER of the authorities that alone count in mode `strict`; the system's where undefined. */
  readonly authorities: readonly string[] | undefined
  readonly platformCa: string | Buffer
  readonly allowInsecure: boolean
}

/** What a target showed. */
export interface Shown {
  readonly leaf: X509Certificate
  readonly fingerprintSha256: string
  readonly spkiSha256: string
  /** Base64 DER as the target sent it, the leaf first, bounded: for the report. */
  readonly chain: readonly string[]
}

/** Reads what the target showed. Throws TargetFailure: what cannot be read is not reported, and so not trusted in any mode. */
export function readShown(secure: TLSSocket): Shown {
  // Not getPeerX509Certificate: in Node 22 it empties what the connection remembers of its peer.
  const peer = secure.getPeerCertificate(true)
  if (peer?.raw === undefined) throw new TargetFailure('ERR_TARGET_NO_CERTIFICATE')
  try {
    const { fingerprintSha256, spkiSha256 } = readServerCertificate(peer.raw)
    return { leaf: new X509Certificate(peer.raw), fingerprintSha256, spkiSha256, chain: chainOf(peer) }
  } catch (cause) {
    throw new TargetFailure('ERR_TARGET_CERTIFICATE_UNTRUSTED', { reason: 'unreadable' }, { cause })
  }
}

function chainOf(leaf: DetailedPeerCertificate): string[] {
  const chain: string[] = []
  let bytes = 0
  let next: DetailedPeerCertificate | undefined = leaf
  while (next?.raw !== undefined && chain.length < MAX_CHAIN) {
    const { raw, issuerCertificate }: DetailedPeerCertificate = next
    bytes += raw.length
    if (bytes > MAX_CHAIN_BYTES || (chain.length > 0 && raw.length > MAX_ISSUER_BYTES)) break
    chain.push(raw.toString('base64'))
    // A self-signed one is its own issuer.
    next = issuerCertificate === next ? undefined : issuerCertificate
  }
  return chain
}

/** Why the rule refuses what was shown; undefined where it accepts it. */
export function refusalOf(
  secure: TLSSocket,
  host: string,
  { shown, rule }: { shown: Shown; rule: CertificateRule },
): TargetFailure | undefined {
  const facts = factsOf(shown, rule)
  switch (rule.mode) {
    case 'insecure':
      return undefined
    case 'pinned': {
      const { pins, publicKeyPins } = rule
      if (pins.includes(shown.fingerprintSha256) || publicKeyPins.includes(shown.spkiSha256)) return undefined
      const isFirst = pins.length + publicKeyPins.length === 0
      return new TargetFailure(isFirst ? 'ERR_TARGET_CERTIFICATE_UNKNOWN' : 'ERR_TARGET_CERTIFICATE_MISMATCH', facts)
    }
    case 'strict':
    case 'platform_ca': {
      if (!secure.authorized) {
        const reason = String(secure.authorizationError)
        const expired = reason.includes('CERT_HAS_EXPIRED') || reason.includes('CERT_NOT_YET_VALID')
        return new TargetFailure(expired ? 'ERR_TARGET_CERTIFICATE_EXPIRED' : 'ERR_TARGET_CERTIFICATE_UNTRUSTED', {
          ...facts,
          reason: reason.slice(0, 100),
        })
      }
      return hasName(shown.leaf, host) ? undefined : new TargetFailure('ERR_TARGET_CERTIFICATE_NAME', facts)
    }
  }
}

/** What the audit and the log tell of a certificate. */
export function factsOf({ fingerprintSha256, spkiSha256 }: Shown, { mode }: Pick<CertificateRule, 'mode'>) {
  return { fingerprint_sha256: fingerprintSha256, spki_sha256: spkiSha256, mode }
}

/** The name stands in the SAN; a common name says nothing (RFC 6125 §6.4.4). */
function hasName(leaf: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return leaf.checkIP(host) !== undefined
  return leaf.checkHost(host.replace(/\.$/, ''), { subject: 'never', partialWildcards: false }) !== undefined
}
