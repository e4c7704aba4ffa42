import type { TransactionSql } from '@rap/service-kit'
import { auditCaller, type EventBy } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { requireResource } from '../resources/access.ts'
import { checkMetadata, targetRulesOf } from '../resources/metadata.ts'
import type { ResourceForRow } from '../resources/storage.ts'
import { describeAuthorities, readAuthorities } from './authorities.ts'
import { readIdentity, type TargetIdentity } from './identity.ts'
import { matches, type Pin, type PinKind, stateOf } from './pins.ts'
import { auditFacts, rotateTo } from './rotate.ts'
import {
  type CertificateRow,
  clearAlarm,
  deletePin,
  ensureIdentity,
  findCertificate,
  pruneRetired,
  putPin,
  setAuthorities,
  setMetadata,
} from './storage.ts'

/** Most pins of a kind that are approved or staged, and most that are rejected, beside those of the metadata. */
const MAX_PINS = 8
const MAX_REJECTED = 64

/** What an operator decides. Fingerprints are lower-case hexadecimal. */
export type Decision =
  | { readonly action: 'approve'; readonly fingerprint: string; readonly kind: PinKind; readonly keepOthers: boolean }
  | { readonly action: 'reject'; readonly fingerprint: string }
  | { readonly action: 'stage'; readonly kind: PinKind; readonly sha256: string; readonly keepOthers: boolean }
  | { readonly action: 'withdraw'; readonly kind: PinKind; readonly sha256: string }
  | { readonly action: 'enrol_ca'; readonly pem: string }
  | { readonly action: 'remove_ca' }
  | { readonly action: 'dismiss_alarm'; readonly fingerprint: string }

interface Scene {
  readonly ctx: Context
  readonly tx: TransactionSql
  readonly caller: Caller
  readonly resource: ResourceForRow
  readonly identity: TargetIdentity
}

/** The event of a decision without what every one of them tells. */
type Told = Pick<EventBy, 'event' | 'details'>

/**
 * Carries a decision out, and writes it into the audit.
 *
 * Throws ProblemError ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_TARGET_CERTIFICATE_NOT_SEEN, ERR_TARGET_PIN_NOT_FOUND, ERR_TARGET_PIN_APPROVED,
 * ERR_TARGET_PIN_REJECTED, ERR_TARGET_PIN_LIMIT, ERR_TARGET_CA_INVALID, ERR_TARGET_ALARM_OTHER.
 */
export async function decideTarget(
  ctx: Context,
  caller: Caller,
  { id, decision }: { id: string; decision: Decision },
): Promise<void> {
  await ctx.sql.begin(async tx => {
    const resource = await requireResource(tx, caller, { id, permission: 'resources.manage', lock: 'update' })
    await ensureIdentity(tx, resource)
    const scene = { ctx, tx, caller, resource, identity: await readIdentity(tx, resource) }
    const told = await carryOut(scene, decision)
    await auditCaller(tx, caller, {
      organization_id: resource.organization_id,
      resource_id: id,
      ...told,
      details: { address: resource.address, ...told.details },
    })
  })
}

async function carryOut(scene: Scene, decision: Decision): Promise<Told> {
  switch (decision.action) {
    case 'approve':
      return await approve(scene, decision)
    case 'reject':
      return await reject(scene, decision.fingerprint)
    case 'stage':
      return await stage(scene, decision)
    case 'withdraw':
      return await withdraw(scene, decision)
    case 'enrol_ca':
      return await enrol(scene, decision.pem)
    case 'remove_ca':
      return await removeAuthority(scene)
    case 'dismiss_alarm':
      return await dismiss(scene, decision.fingerprint)
  }
}

/** Only what was seen: whoever knows the next certificate before it was seen stages it. The mode is `pinned` from then on. */
async function approve(
  { ctx, tx, caller, resource, identity }: Scene,
  { fingerprint, kind, keepOthers }: Decision & { action: 'approve' },
): Promise<Told> {
  const shown = fingerprintsOf(await requireSeen(tx, resource.id, fingerprint))
  const pin = { kind, sha256: kind === 'certificate' ? shown.fingerprintSha256 : shown.spkiSha256 }
  requireRoom(keepOthers ? identity.pins : identity.pins.filter(({ state }) => state === 'staged'), pin)
  // Approving takes a rejection of the same certificate back, whichever of its two pins it hangs on.
  for (const other of identity.pins) {
    if (other.state === 'rejected' && matches(other, shown)) await deletePin(tx, resource.id, other.kind, other.sha256)
  }
  const previousMode = targetRulesOf(resource.metadata).certificate_verification_mode
  const retired = await rotateTo(tx, {
    resource,
    identity,
    pin,
    keepsOthers: keepOthers,
    by: caller.id,
    metadata: { certificate_verification_mode: 'pinned' },
    production: ctx.production,
  })
  if (identity.alarm?.fingerprint === fingerprint) await clearAlarm(tx, resource.id)
  return {
    event: 'target_certificate_approved',
    details: { ...auditFacts(shown), kind, previous_mode: previousMode, retired: retired.join(', ') },
  }
}

/** The certificate is refused in every mode; an alarm that it raised stays until it is dismissed. */
async function reject({ tx, caller, resource, identity }: Scene, fingerprint: string): Promise<Told> {
  const shown = fingerprintsOf(await requireSeen(tx, resource.id, fingerprint))
  const rejected = identity.pins.filter(({ state }) => state === 'rejected')
  if (rejected.length >= MAX_REJECTED) throw problems.ERR_TARGET_PIN_LIMIT({ extras: { limit: MAX_REJECTED } })
  await putPin(tx, resource.id, {
    kind: 'certificate',
    sha256: fingerprint,
    state: 'rejected',
    keepsOthers: false,
    by: caller.id,
  })
  return {
    event: 'target_certificate_rejected',
    details: { ...auditFacts(shown), previous_state: stateOf(identity.pins, identity.metadataPins, shown) },
  }
}

/** Pins what is to come. It need not have been seen; where it is what raised the alarm, the alarm is decided about. */
async function stage(
  { tx, caller, resource, identity }: Scene,
  { kind, sha256, keepOthers }: Decision & { action: 'stage' },
): Promise<Told> {
  const before = identity.pins.find(pin => pin.kind === kind && pin.sha256 === sha256)
  const isApproved = before?.state === 'approved' || (kind === 'certificate' && identity.metadataPins.includes(sha256))
  if (isApproved) throw problems.ERR_TARGET_PIN_APPROVED()
  if (before?.state === 'rejected') throw problems.ERR_TARGET_PIN_REJECTED()
  requireRoom(identity.pins, { kind, sha256 })
  await putPin(tx, resource.id, { kind, sha256, state: 'staged', keepsOthers: keepOthers, by: caller.id })
  const { alarm } = identity
  if (alarm !== undefined) {
    const shown = await findCertificate(tx, resource.id, alarm.fingerprint)
    if (shown !== undefined && matches({ kind, sha256 }, fingerprintsOf(shown))) await clearAlarm(tx, resource.id)
  }
  return { event: 'target_certificate_staged', details: { kind, sha256, keeps_others: keepOthers } }
}

/** Takes a pin back: an approved one is retired, a staged or rejected one is gone. */
async function withdraw(
  { ctx, tx, caller, resource, identity }: Scene,
  { kind, sha256 }: Decision & { action: 'withdraw' },
): Promise<Told> {
  const before = identity.pins.find(pin => pin.kind === kind && pin.sha256 === sha256)
  const isInMetadata = kind === 'certificate' && identity.metadataPins.includes(sha256)
  if (!isInMetadata && (before === undefined || before.state === 'retired')) throw problems.ERR_TARGET_PIN_NOT_FOUND()
  if (isInMetadata) {
    const certificate_pins = identity.metadataPins.filter(pin => pin !== sha256)
    const metadata = checkMetadata({ ...resource.metadata, certificate_pins }, { production: ctx.production })
    await setMetadata(tx, resource.id, metadata)
  }
  if (isInMetadata || before?.state === 'approved') {
    await putPin(tx, resource.id, { kind, sha256, state: 'retired', keepsOthers: false, by: caller.id })
    await pruneRetired(tx, resource.id)
  } else await deletePin(tx, resource.id, kind, sha256)
  return {
    event: 'target_certificate_withdrawn',
    details: { kind, sha256, previous_state: isInMetadata ? 'approved' : (before?.state ?? 'unknown') },
  }
}

async function enrol({ tx, caller, resource }: Scene, pem: string): Promise<Told> {
  const authorities = readAuthorities(pem, new Date())
  await setAuthorities(tx, resource.id, { authorities, by: caller.id })
  const described = describeAuthorities(authorities)
  return {
    event: 'target_ca_enrolled',
    details: {
      fingerprints_sha256: described.map(({ fingerprint_sha256 }) => fingerprint_sha256).join(', '),
      subjects: described.map(({ subject }) => subject).join(' | '),
    },
  }
}

async function removeAuthority({ tx, caller, resource, identity }: Scene): Promise<Told> {
  const authorities = identity.row?.authorities ?? null
  if (authorities === null) throw problems.ERR_TARGET_PIN_NOT_FOUND({ detail: 'No authority is enrolled' })
  await setAuthorities(tx, resource.id, { authorities: null, by: caller.id })
  const fingerprints = describeAuthorities(authorities).map(({ fingerprint_sha256 }) => fingerprint_sha256)
  return { event: 'target_ca_removed', details: { fingerprints_sha256: fingerprints.join(', ') } }
}

/** Names what it dismisses, so that nobody dismisses an alarm that came after the one that was seen. */
async function dismiss({ tx, resource, identity: { alarm } }: Scene, fingerprint: string): Promise<Told> {
  if (alarm?.fingerprint !== fingerprint) throw problems.ERR_TARGET_ALARM_OTHER()
  await clearAlarm(tx, resource.id)
  return {
    event: 'target_identity_alarm_dismissed',
    details: { fingerprint_sha256: fingerprint, alarm_code: alarm.code, alarm_since: alarm.since.toISOString() },
  }
}

async function requireSeen(tx: TransactionSql, resourceId: string, fingerprint: string): Promise<CertificateRow> {
  const row = await findCertificate(tx, resourceId, fingerprint)
  if (row === undefined) throw problems.ERR_TARGET_CERTIFICATE_NOT_SEEN()
  return row
}

function requireRoom(pins: readonly Pin[], { kind, sha256 }: { kind: PinKind; sha256: string }): void {
  const held = pins.filter(
    pin => pin.kind === kind && pin.sha256 !== sha256 && (pin.state === 'approved' || pin.state === 'staged'),
  )
  if (held.length >= MAX_PINS) throw problems.ERR_TARGET_PIN_LIMIT({ extras: { limit: MAX_PINS } })
}

function fingerprintsOf({ fingerprint_sha256, spki_sha256 }: CertificateRow) {
  return { fingerprintSha256: fingerprint_sha256, spkiSha256: spki_sha256 }
}
