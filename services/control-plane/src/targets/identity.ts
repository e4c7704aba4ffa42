import type { Sql, TransactionSql } from '@rap/service-kit'
import type { ClaimsOf } from '@rap/token-claims'
import { problems } from '../errors.ts'
import { can, type Role } from '../organizations/permissions.ts'
import { type Metadata, targetRulesOf } from '../resources/metadata.ts'
import type { Pin } from './pins.ts'
import { findIdentity, type IdentityRow, listPins } from './storage.ts'

/** The alarm of a resource. */
export interface Alarm {
  readonly fingerprint: string
  readonly code: string
  readonly since: Date
}

/** What is accepted of a target, from every place where it is said. */
export interface TargetIdentity {
  readonly pins: readonly Pin[]
  /** `certificate_pins` of the metadata. */
  readonly metadataPins: readonly string[]
  readonly alarm: Alarm | undefined
  readonly row: IdentityRow | undefined
}

/** Reads the identity of a target; in the transaction that holds its resource where something is decided by it. */
export async function readIdentity(
  db: Sql | TransactionSql,
  { id, metadata }: { readonly id: string; readonly metadata: Metadata },
): Promise<TargetIdentity> {
  const row = await findIdentity(db, id)
  const metadataPins = targetRulesOf(metadata).certificate_pins ?? []
  return { pins: row === undefined ? [] : await listPins(db, id), metadataPins, alarm: alarmOf(row, metadataPins), row }
}

/** Whoever pins the certificate in the metadata has decided about its alarm. */
function alarmOf(row: IdentityRow | undefined, metadataPins: readonly string[]): Alarm | undefined {
  const { alarm_fingerprint: fingerprint = null, alarm_code: code = null, alarm_since: since = null } = row ?? {}
  if (fingerprint === null || code === null || since === null || metadataPins.includes(fingerprint)) return undefined
  return { fingerprint, code, since }
}

/**
 * No session starts on a target that showed another identity than the approved one. Throws ProblemError ERR_TARGET_IDENTITY_CHANGED; the
 * fingerprint is told to those who may decide about it, and to nobody else.
 */
export function requireNoAlarm({ alarm }: TargetIdentity, role: Role): void {
  if (alarm === undefined) return
  const mayDecide = can(role, 'resources.manage')
  throw problems.ERR_TARGET_IDENTITY_CHANGED({
    detail: mayDecide
      ? 'Compare the fingerprint with that of the machine itself, then approve it or dismiss the alarm: POST /v1/resources/:id/target-identity'
      : 'No session starts before an administrator has decided about it. No password was sent.',
    extras: mayDecide ? { fingerprint_sha256: alarm.fingerprint, alarm_since: alarm.since.toISOString() } : {},
  })
}

/** The target as an order names it to a worker. */
export function targetOf(
  resource: { readonly protocol: 'rdp'; readonly address: string; readonly metadata: Metadata },
  { pins, metadataPins, row }: TargetIdentity,
): ClaimsOf<'assignment'>['target'] {
  const rules = targetRulesOf(resource.metadata)
  const accepted = pins.filter(({ state }) => state === 'approved' || state === 'staged')
  const rejected = new Set(
    pins.filter(({ state }) => state === 'rejected').map(({ kind, sha256 }) => `${kind}/${sha256}`),
  )
  const pinned = (kind: Pin['kind'], others: readonly string[] = []): string[] =>
    [...new Set([...others, ...accepted.filter(pin => pin.kind === kind).map(({ sha256 }) => sha256)])].filter(
      sha256 => !rejected.has(`${kind}/${sha256}`),
    )
  return {
    protocol: resource.protocol,
    address: resource.address,
    ...rules,
    ...(rules.certificate_verification_mode === 'pinned' && {
      certificate_pins: pinned('certificate', metadataPins),
      public_key_pins: pinned('public_key'),
    }),
    ...(rules.certificate_verification_mode === 'strict' &&
      row?.authorities && { certificate_authorities: row.authorities }),
  }
}
