import { commonProblems, type TransactionSql } from '@rap/service-kit'
import { auditWorker } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { targetRulesOf } from '../resources/metadata.ts'
import { findAttachment, findSession } from '../sessions/storage.ts'
import { readShown, type ShownCertificate } from './certificate.ts'
import { readIdentity, type TargetIdentity } from './identity.ts'
import { type Judgement, judge } from './judge.ts'
import { auditFacts, rotateTo } from './rotate.ts'
import {
  acceptedKeys,
  clearAlarm,
  ensureIdentity,
  lockResource,
  pruneCertificates,
  type ReportedResource,
  recordSight,
  setAlarm,
} from './storage.ts'

/** What a worker says about the certificate that a target showed, before it sends anything else. */
export interface TargetReport {
  readonly attachmentId: string
  /** The mode that it judged by. */
  readonly mode: string
  /** Base64 DER, the leaf first. */
  readonly certificates: readonly string[]
  /** Why it refused; absent where it accepted. */
  readonly code: string | undefined
  readonly requestId: string
}

/** The answer: `code` says why the worker must not go on. */
export interface TargetDecision {
  readonly decision: 'accepted' | 'refused'
  readonly code: string | null
}

/**
 * Takes the report of a worker and has the last word over it, by the pins, rejections and alarm of this moment.
 *
 * Throws ProblemError ERR_NOT_FOUND, ERR_ATTACHMENT_STATE, ERR_TARGET_CERTIFICATE_INVALID, ERR_TARGET_RULES_CHANGED.
 * INVARIANT: reports on one resource are judged one by one, so that a pin is not promoted twice and an alarm is raised once.
 */
export async function reportTarget(ctx: Context, workerId: string, report: TargetReport): Promise<TargetDecision> {
  const attachment = await findAttachment(ctx.sql, report.attachmentId)
  if (attachment?.worker_id !== workerId) throw commonProblems.ERR_NOT_FOUND()
  if (attachment.state !== 'assigning') throw problems.ERR_ATTACHMENT_STATE({ extras: { state: attachment.state } })
  const session = await findSession(ctx.sql, attachment.session_id)
  if (session === undefined) throw commonProblems.ERR_NOT_FOUND()
  const shown = readShown(report.certificates)
  const judgement = await ctx.sql.begin(async tx => {
    const resource = await lockResource(tx, session.resource_id)
    if (resource === undefined) throw commonProblems.ERR_NOT_FOUND()
    const sight = { report, workerId, sessionId: session.id, resource, shown }
    return await takeSight(ctx, tx, sight)
  })
  return judgement.code === undefined
    ? { decision: 'accepted', code: null }
    : { decision: 'refused', code: judgement.code }
}

interface SightOf {
  readonly report: TargetReport
  readonly workerId: string
  readonly sessionId: string
  readonly resource: ReportedResource
  readonly shown: ShownCertificate
}

async function takeSight(ctx: Context, tx: TransactionSql, sight: SightOf): Promise<Judgement> {
  const { report, workerId, resource, shown } = sight
  const mode = targetRulesOf(resource.metadata).certificate_verification_mode
  // Somebody changed the rules since the order: by which ones the worker judged is not worth a guess.
  if (mode !== report.mode) throw problems.ERR_TARGET_RULES_CHANGED()
  await ensureIdentity(tx, resource)
  const identity = await readIdentity(tx, resource)
  const judgement = judge({
    mode,
    shown,
    refusedByWorker: report.code,
    pins: identity.pins,
    metadataPins: identity.metadataPins,
    hasAlarm: identity.alarm !== undefined,
    knownKeys: await acceptedKeys(tx, resource),
  })
  const isFirst = await recordSight(tx, {
    resource,
    shown,
    workerId,
    attachmentId: report.attachmentId,
    code: judgement.code,
    countsAsAccepted: judgement.code === undefined && mode !== 'insecure',
  })
  const retired = await follow(ctx, tx, { sight, identity, judgement })
  await pruneCertificates(tx, resource.id)
  await writeAudit(tx, { sight, judgement, isFirst, retired })
  return judgement
}

/** Does what the judgement says beside yes and no; answers the pins that were retired. */
async function follow(
  ctx: Context,
  tx: TransactionSql,
  { sight, identity, judgement }: { sight: SightOf; identity: TargetIdentity; judgement: Judgement },
): Promise<string[]> {
  const { resource, shown } = sight
  const { code, raisesAlarm, promotes } = judgement
  // Left over from an alarm that was decided about in the metadata.
  if (identity.alarm === undefined && identity.row?.alarm_since != null) await clearAlarm(tx, resource.id)
  if (raisesAlarm && code !== undefined) await setAlarm(tx, resource.id, { fingerprint: shown.fingerprintSha256, code })
  if (promotes === undefined) return []
  return await rotateTo(tx, {
    resource,
    identity,
    pin: promotes,
    keepsOthers: promotes.keeps_others,
    by: null,
    production: ctx.production,
  })
}

async function writeAudit(
  tx: TransactionSql,
  result: { sight: SightOf; judgement: Judgement; isFirst: boolean; retired: readonly string[] },
): Promise<void> {
  const { sight, judgement, isFirst, retired } = result
  const { report, workerId, sessionId, resource, shown } = sight
  const { code, raisesAlarm, promotes } = judgement
  const place = {
    organization_id: resource.organization_id,
    resource_id: resource.id,
    session_id: sessionId,
    attachment_id: report.attachmentId,
    request_id: report.requestId,
  }
  if (isFirst) {
    await auditWorker(tx, workerId, {
      ...place,
      event: 'target_certificate_seen',
      outcome: code === undefined ? 'ok' : 'refused',
      code,
      details: {
        ...auditFacts(shown),
        subject: shown.subject,
        issuer: shown.issuer,
        names: shown.names.join(', '),
        not_after: shown.notAfter.toISOString(),
        mode: report.mode,
      },
    })
  }
  if (promotes !== undefined) {
    await auditWorker(tx, workerId, {
      ...place,
      event: 'target_identity_rotated',
      details: { ...auditFacts(shown), kind: promotes.kind, retired: retired.join(', ') },
    })
  }
  if (raisesAlarm) {
    await auditWorker(tx, workerId, {
      ...place,
      event: 'target_identity_changed',
      outcome: 'refused',
      code,
      details: { ...auditFacts(shown), subject: shown.subject, issuer: shown.issuer, mode: report.mode },
    })
  }
}
