import { X509Certificate } from 'node:crypto'
import {
  type Authority,
  createAuthority,
  type IssuedCertificate,
  issueCertificate,
  readServerCertificate,
} from '@rap/pki'
import type { ClaimsOf } from '@rap/token-claims'

/** A certificate of a desktop, as it goes over the wires of a test. */
export interface Shown {
  readonly issued: IssuedCertificate
  readonly chain: string[]
  readonly fingerprint: string
  readonly spki: string
}

export async function shown(options: { authority?: Authority; name?: string } = {}): Promise<Shown> {
  const now = new Date()
  const authority = options.authority ?? (await createAuthority({ name: 'somebody', days: 30, now }))
  const issued = await issueCertificate({
    authority,
    commonName: options.name ?? 'desktop',
    dnsNames: ['desktop.example'],
    usages: ['server'],
    now,
  })
  const { raw } = new X509Certificate(issued.certificatePem)
  const { fingerprintSha256, spkiSha256 } = readServerCertificate(raw)
  return { issued, chain: [raw.toString('base64')], fingerprint: fingerprintSha256, spki: spkiSha256 }
}

/** A worker's judgement by pins, for a target that shows `certificate`. */
export function judgeOf(certificate: Shown) {
  return ({ target }: ClaimsOf<'assignment'>): string | undefined => {
    if (target.certificate_verification_mode !== 'pinned') return 'ERR_TARGET_CERTIFICATE_UNTRUSTED'
    const { certificate_pins: pins = [], public_key_pins: keys = [] } = target
    if (pins.includes(certificate.fingerprint) || keys.includes(certificate.spki)) return undefined
    return pins.length + keys.length === 0 ? 'ERR_TARGET_CERTIFICATE_UNKNOWN' : 'ERR_TARGET_CERTIFICATE_MISMATCH'
  }
}
