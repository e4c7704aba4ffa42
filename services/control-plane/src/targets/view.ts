import { readServerCertificate } from '@rap/pki'
import type { Sql } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { Nullable, Time, Uuid } from '../http/schemas.ts'
import { targetRulesOf } from '../resources/metadata.ts'
import type { ResourceRow } from '../resources/storage.ts'
import { describeAuthorities } from './authorities.ts'
import { isSelfSigned, pemOf } from './certificate.ts'
import { readIdentity, type TargetIdentity } from './identity.ts'
import { PIN_KINDS, PIN_STATES, type Pin, type PinState, stateOf } from './pins.ts'
import { type CertificateRow, listCertificates } from './storage.ts'

const Hex = Type.String({ description: 'SHA-256, lower-case hexadecimal' })

const TargetPin = Type.Object({
  kind: Type.Union(PIN_KINDS.map(kind => Type.Literal(kind))),
  sha256: Hex,
  source: Type.Union([Type.Literal('decision'), Type.Literal('metadata')], {
    description: 'metadata: certificate_pins of the resource',
  }),
  keep_others: Type.Boolean({ description: 'A staged pin leaves the approved ones in force when it shows up' }),
  decided_at: Nullable(Time),
  decided_by: Nullable(Type.String({ description: 'Null where a staged pin showed up, or it stands in the metadata' })),
})

const SeenCertificate = Type.Object({
  fingerprint_sha256: Hex,
  spki_sha256: Hex,
  state: Type.Union([...PIN_STATES.map(state => Type.Literal(state)), Type.Literal('seen')]),
  subject: Type.String(),
  issuer: Type.String(),
  self_signed: Type.Boolean(),
  names: Type.Array(Type.String()),
  not_before: Time,
  not_after: Time,
  first_seen_at: Time,
  last_seen_at: Time,
  times_seen: Type.Integer(),
  worker_id: Uuid,
  worker_name: Type.String(),
  accepted_at: Nullable(Time),
  refused_code: Nullable(Type.String({ description: 'Why it was refused the last time; null where it was accepted' })),
})

/** A chain as a target showed it; it is as long as the target likes, within the bounds, so it is read one by one. */
export const TargetChainAnswer = Type.Object({
  fingerprint_sha256: Hex,
  chain: Type.Array(Type.Object({ subject: Type.String(), fingerprint_sha256: Hex, pem: Type.String() }), {
    description: 'The leaf first, then its issuers as far as the worker got them; nothing in it is verified',
  }),
})

/** Answer of `/v1/resources/:id/target-identity`. */
export const TargetIdentityAnswer = Type.Object({
  resource_id: Uuid,
  mode: Type.String({ description: 'strict, platform_ca, pinned or insecure' }),
  alarm: Nullable(Type.Object({ fingerprint_sha256: Hex, code: Type.String(), since: Time })),
  approved: Type.Array(TargetPin),
  staged: Type.Array(TargetPin),
  rejected: Type.Array(TargetPin),
  retired: Type.Array(TargetPin),
  seen: Type.Array(SeenCertificate),
  forgotten_count: Type.Integer({ description: 'Certificates that were seen and are no longer kept' }),
  ca: Nullable(
    Type.Object({
      certificates: Type.Array(
        Type.Object({ subject: Type.String(), fingerprint_sha256: Hex, not_before: Time, not_after: Time }),
      ),
      certificates_pem: Type.String(),
      enrolled_at: Time,
      enrolled_by: Nullable(Uuid),
    }),
  ),
})

/** Everything about the identity of a target, for whoever may decide about it. */
export async function targetIdentityView(sql: Sql, resource: ResourceRow) {
  const identity = await readIdentity(sql, resource)
  const certificates = identity.row === undefined ? [] : await listCertificates(sql, resource.id)
  const { alarm, row } = identity
  const of = (state: PinState) => pinsOf(identity, state)
  return {
    resource_id: resource.id,
    mode: targetRulesOf(resource.metadata).certificate_verification_mode,
    alarm: alarm ? { fingerprint_sha256: alarm.fingerprint, code: alarm.code, since: alarm.since.toISOString() } : null,
    approved: of('approved'),
    staged: of('staged'),
    rejected: of('rejected'),
    retired: of('retired'),
    seen: certificates.map(certificate => seenView(certificate, identity)),
    forgotten_count: row?.forgotten_count ?? 0,
    ca: row?.authorities
      ? {
          certificates: describeAuthorities(row.authorities),
          certificates_pem: pemOf(row.authorities),
          enrolled_at: row.authorities_at?.toISOString() ?? '',
          enrolled_by: row.authorities_by,
        }
      : null,
  }
}

/** The chain of one certificate; what cannot be read of it is left out. */
export function targetChainView({ fingerprint_sha256, chain }: CertificateRow) {
  return {
    fingerprint_sha256,
    chain: chain.flatMap(base64 => {
      try {
        const { subject, fingerprintSha256 } = readServerCertificate(Buffer.from(base64, 'base64'))
        return [{ subject, fingerprint_sha256: fingerprintSha256, pem: pemOf([base64]) }]
      } catch {
        return []
      }
    }),
  }
}

function pinsOf({ pins, metadataPins }: TargetIdentity, state: PinState) {
  const decided = pins.filter(pin => pin.state === state).map(pinView)
  if (state !== 'approved') return decided
  const known = new Set(decided.filter(({ kind }) => kind === 'certificate').map(({ sha256 }) => sha256))
  const stated = metadataPins.filter(sha256 => !known.has(sha256))
  return [
    ...decided,
    ...stated.map(sha256 => ({
      kind: 'certificate' as const,
      sha256,
      source: 'metadata' as const,
      keep_others: true,
      decided_at: null,
      decided_by: null,
    })),
  ]
}

function pinView({ kind, sha256, keeps_others, decided_at, decided_by }: Pin) {
  return {
    kind,
    sha256,
    source: 'decision' as const,
    keep_others: keeps_others,
    decided_at: decided_at.toISOString(),
    decided_by,
  }
}

function seenView(row: CertificateRow, { pins, metadataPins }: TargetIdentity) {
  const [leaf = ''] = row.chain
  return {
    fingerprint_sha256: row.fingerprint_sha256,
    spki_sha256: row.spki_sha256,
    state: stateOf(pins, metadataPins, { fingerprintSha256: row.fingerprint_sha256, spkiSha256: row.spki_sha256 }),
    subject: row.subject,
    issuer: row.issuer,
    self_signed: isSelfSigned(leaf),
    names: row.names,
    not_before: row.not_before.toISOString(),
    not_after: row.not_after.toISOString(),
    first_seen_at: row.first_seen_at.toISOString(),
    last_seen_at: row.last_seen_at.toISOString(),
    times_seen: row.times_seen,
    worker_id: row.worker_id,
    worker_name: row.worker_name,
    accepted_at: row.accepted_at?.toISOString() ?? null,
    refused_code: row.refused_code,
  }
}
