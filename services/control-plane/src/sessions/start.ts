import { randomUUID } from 'node:crypto'
import type { TransactionSql } from '@rap/service-kit'
import type { EffectivePolicy } from '@rap/session-policy'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { requireResource } from '../resources/access.ts'
import { auditingCredentials, refuseCredentials } from '../resources/credential-guard.ts'
import { targetRulesOf } from '../resources/metadata.ts'
import type { ResourceForRow } from '../resources/storage.ts'
import { readIdentity, requireNoAlarm, type TargetIdentity, targetOf } from '../targets/identity.ts'
import { tellingFingerprint } from '../targets/refusals.ts'
import { selectWorker } from '../workers/select.ts'
import type { WorkerRow } from '../workers/storage.ts'
import { dispatchAssignment, releaseAttachments } from './coordination.ts'
import { COORDINATION_UNAVAILABLE } from './failure.ts'
import { failAttachment } from './finish.ts'
import { findIdempotent, type IdempotentRequest, rememberIdempotent } from './idempotency.ts'
import { policyInForce } from './policy.ts'
import { awaitReady, type Started } from './ready.ts'
import { auditingRefusedSession } from './refusals.ts'
import { hasEnded, isLive } from './states.ts'
import {
  type AttachmentRow,
  countConnected,
  insertAttachment,
  insertSession,
  lockSession,
  newestAttachment,
  type SessionRow,
  updateAttachmentState,
  updateSessionEnd,
  updateSessionState,
} from './storage.ts'
import { signAssignment } from './tokens.ts'

export interface ConnectInput {
  /** RFC 7638 thumbprint of the client's key. */
  readonly dpopJkt: string
  readonly display: { readonly width: number; readonly height: number } | undefined
}

export interface StartInput extends ConnectInput {
  readonly resourceId: string
  readonly idempotent: IdempotentRequest | undefined
}

interface Placed {
  /** As it was when it was locked: what the guard has seen is what the worker is told. */
  readonly resource: ResourceForRow
  readonly identity: TargetIdentity
  readonly session: SessionRow
  readonly attachment: AttachmentRow
}

/** Undoes the transaction of a request that another one with the same key has overtaken. */
class OvertakenError extends Error {
  override readonly name = 'OvertakenError'
}

/**
 * Starts a session and waits until its worker is ready.
 *
 * Throws ProblemError: ERR_RESOURCE_SECRET_REQUIRED and ERR_RESOURCE_PLAINTEXT_CREDENTIALS in production,
 * ERR_TARGET_IDENTITY_CHANGED, ERR_SESSION_POLICY_DENIED, ERR_SESSION_LIMIT_USER, ERR_SESSION_LIMIT_ORGANIZATION, ERR_SESSION_NO_WORKER,
 * ERR_SESSION_COORDINATION_UNAVAILABLE,
 * ERR_IDEMPOTENCY_KEY_REUSED, and whatever `awaitReady` throws.
 */
export async function startSession(ctx: Context, caller: Caller, input: StartInput): Promise<Started> {
  const resource = await requireResource(ctx.sql, caller, { id: input.resourceId, permission: 'sessions.use' })
  const { idempotent } = input
  const earlier = idempotent === undefined ? undefined : await findIdempotent(ctx.sql, idempotent)
  if (earlier !== undefined) return await answer(ctx, resource, earlier)
  return await auditingRefusals(ctx, caller, {
    resource,
    operation: 'session_start',
    work: async () => {
      requireConnectable(ctx, resource)
      const worker = await selectWorker(ctx, resource.labels)
      let placed: Placed
      try {
        placed = await ctx.sql.begin(tx => placeSession(ctx, tx, { caller, input, worker }))
      } catch (error) {
        if (!(error instanceof OvertakenError) || idempotent === undefined) throw error
        const other = await findIdempotent(ctx.sql, idempotent)
        if (other === undefined) throw error
        return await answer(ctx, resource, other)
      }
      return await connect(ctx, { ...placed, worker, display: input.display })
    },
  })
}

async function placeSession(
  ctx: Context,
  tx: TransactionSql,
  { caller, input, worker }: { caller: Caller; input: StartInput; worker: WorkerRow },
): Promise<Placed> {
  // Locked, so that the resource is not deleted while its session begins.
  const resource = await requireResource(tx, caller, {
    id: input.resourceId,
    permission: 'sessions.use',
    lock: 'share',
  })
  requireConnectable(ctx, resource)
  const identity = await readIdentity(tx, resource)
  requireNoAlarm(identity, resource.role)
  const subject = { organizationId: resource.organization_id, resourceId: resource.id, userId: caller.id }
  const policy = await policyInForce(tx, subject)
  await requireRoom(ctx, tx, subject)
  const session = await insertSession(tx, { ...subject, secretRef: resource.secret_ref, limits: policy.limits })
  const attachment = await insertAttachment(tx, {
    session,
    ordinal: 1,
    workerId: worker.id,
    leaseId: randomUUID(),
    dpopJkt: input.dpopJkt,
    policy,
    supersedes: undefined,
  })
  if (input.idempotent !== undefined && !(await rememberIdempotent(tx, input.idempotent, attachment.id))) {
    throw new OvertakenError()
  }
  await auditCaller(tx, caller, { ...placeOf(session, attachment), event: 'session_started' })
  return { resource, identity, session, attachment }
}

export interface AttachInput extends ConnectInput {
  /** Takes the session from an attachment that is live. */
  readonly takeover: boolean
}

/**
 * Connects to a session again, with a new attachment, a new key and a new connection to the target.
 *
 * Throws ProblemError ERR_SESSION_ATTACHED where one is live and `takeover` is not asked for, ERR_SESSION_ENDED, and
 * what `startSession` throws.
 */
export async function attachSession(
  ctx: Context,
  caller: Caller,
  { session: seen, input }: { session: SessionRow; input: AttachInput },
): Promise<Started> {
  if (hasEnded(seen.state)) throw problems.ERR_SESSION_ENDED({ extras: { session_id: seen.id } })
  const use = { id: seen.resource_id, permission: 'sessions.use' } as const
  const resource = await requireResource(ctx.sql, caller, use)
  return await auditingRefusals(ctx, caller, {
    resource,
    operation: 'session_attach',
    work: async () => {
      requireConnectable(ctx, resource)
      const worker = await selectWorker(ctx, resource.labels, await lastWorkerOf(ctx, seen.id))
      const { superseded, ...placed } = await ctx.sql.begin(async tx => {
        // The resource first, as where it is deleted: everybody locks in the same order.
        const locked = await requireResource(tx, caller, { ...use, lock: 'share' })
        requireConnectable(ctx, locked)
        const identity = await readIdentity(tx, locked)
        requireNoAlarm(identity, locked.role)
        const policy = await policyInForce(tx, {
          organizationId: seen.organization_id,
          resourceId: seen.resource_id,
          userId: seen.user_id,
        })
        const given = { caller, sessionId: seen.id, input, worker, policy }
        return { resource: locked, identity, ...(await placeAttachment(ctx, tx, given)) }
      })
      if (superseded !== undefined) {
        await releaseAttachments(ctx.redis, ctx.logger, [{ ...superseded, reason: 'ERR_SESSION_TAKEN_OVER' }])
      }
      return await connect(ctx, { ...placed, worker, display: input.display })
    },
  })
}

/** Where the session was last: what was uploaded for it is there. */
async function lastWorkerOf({ sql }: Context, sessionId: string): Promise<string | undefined> {
  return (await newestAttachment(sql, sessionId))?.worker_id
}

async function placeAttachment(
  ctx: Context,
  tx: TransactionSql,
  given: { caller: Caller; sessionId: string; input: AttachInput; worker: WorkerRow; policy: EffectivePolicy },
): Promise<Pick<Placed, 'session' | 'attachment'> & { superseded: AttachmentRow | undefined }> {
  const { caller, sessionId, input, worker, policy } = given
  const locked = await lockSession(tx, sessionId)
  if (locked === undefined || hasEnded(locked.state) || locked.is_over)
    throw problems.ERR_SESSION_ENDED({ extras: { session_id: sessionId } })
  const newest = await newestAttachment(tx, sessionId)
  const live = newest !== undefined && isLive(newest.state) ? newest : undefined
  if (live !== undefined && !input.takeover) throw problems.ERR_SESSION_ATTACHED({ extras: { session_id: sessionId } })
  if (live === undefined) {
    await requireRoom(ctx, tx, { organizationId: locked.organization_id, userId: locked.user_id })
  }
  const superseded =
    live && (await updateAttachmentState(tx, live.id, 'superseded', { reason: 'ERR_SESSION_TAKEN_OVER' }))
  await updateSessionState(tx, sessionId, 'assigning')
  const session = await updateSessionEnd(tx, sessionId, policy.limits)
  const attachment = await insertAttachment(tx, {
    session,
    ordinal: (newest?.ordinal ?? 0) + 1,
    workerId: worker.id,
    leaseId: randomUUID(),
    dpopJkt: input.dpopJkt,
    policy,
    supersedes: live?.id,
  })
  const place = placeOf(session, attachment)
  if (live !== undefined) {
    await auditCaller(tx, caller, {
      ...place,
      event: 'session_taken_over',
      details: { superseded_attachment_id: live.id },
    })
  }
  await auditCaller(tx, caller, { ...place, event: 'session_attached' })
  return { session, attachment, superseded }
}

/** Hands the order to the worker and waits for its report. */
async function connect(
  ctx: Context,
  order: Placed & { worker: WorkerRow; display: ConnectInput['display'] },
): Promise<Started> {
  const { attachment, resource, identity } = order
  try {
    const assignment = await signAssignment(ctx, {
      ...order,
      secretRef: resource.secret_ref,
      target: targetOf(resource, identity),
    })
    await dispatchAssignment(ctx.redis, attachment, assignment)
  } catch (cause) {
    ctx.logger.error({ event: 'assignment_not_sent', attachment_id: attachment.id, err: cause }, 'assignment not sent')
    await failAttachment(ctx, attachment.id, {
      failure: COORDINATION_UNAVAILABLE,
      by: { kind: 'system' },
      onlyIn: ['assigning'],
      closeReason: 'ERR_SESSION_TERMINATED',
    })
  }
  return await answer(ctx, resource, attachment.id)
}

async function answer(ctx: Context, resource: ResourceForRow, attachmentId: string): Promise<Started> {
  return await tellingFingerprint(ctx, { resource, attachmentId, work: () => awaitReady(ctx, attachmentId) })
}

/** Runs a start or an attach with its refusals in the audit. */
async function auditingRefusals<T>(
  ctx: Context,
  caller: Caller,
  given: { resource: ResourceForRow; operation: 'session_start' | 'session_attach'; work: () => Promise<T> },
): Promise<T> {
  const { resource, operation } = given
  return await auditingCredentials(ctx, caller, {
    attempt: { operation, organizationId: resource.organization_id, resourceId: resource.id },
    work: () => auditingRefusedSession(ctx, caller, given),
  })
}

/** In production: no credential stands in the resource itself, the target is verified, and a secret is there. */
function requireConnectable(ctx: Context, resource: ResourceForRow): void {
  if (!ctx.production) return
  refuseCredentials(resource, ctx)
  if (targetRulesOf(resource.metadata).certificate_verification_mode === 'insecure') {
    throw problems.ERR_RESOURCE_INSECURE_VERIFICATION()
  }
  if (resource.secret_ref === null) {
    throw problems.ERR_RESOURCE_SECRET_REQUIRED({ detail: 'Write its secret first: PUT /v1/resources/:id/secret' })
  }
}

async function requireRoom(
  { config }: Context,
  tx: TransactionSql,
  { organizationId, userId }: { organizationId: string; userId: string },
): Promise<void> {
  const connected = await countConnected(tx, organizationId, userId)
  if (connected.user >= config.SESSION_LIMIT_PER_USER) {
    throw problems.ERR_SESSION_LIMIT_USER({ extras: { limit: config.SESSION_LIMIT_PER_USER } })
  }
  if (connected.organization >= config.SESSION_LIMIT_PER_ORGANIZATION) {
    throw problems.ERR_SESSION_LIMIT_ORGANIZATION({ extras: { limit: config.SESSION_LIMIT_PER_ORGANIZATION } })
  }
}

function placeOf(session: SessionRow, attachment: AttachmentRow) {
  return {
    organization_id: session.organization_id,
    session_id: session.id,
    attachment_id: attachment.id,
    resource_id: session.resource_id,
    worker_id: attachment.worker_id,
    secret_ref: session.metadata.secret_ref ?? undefined,
  }
}
