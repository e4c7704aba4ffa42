import type { TransactionSql } from '@rap/service-kit'
import type { LimitName } from '@rap/session-policy'
import { auditCaller, auditSystem, auditWorker, type EventBy } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { releaseAttachments } from './coordination.ts'
import type { Failure } from './failure.ts'
import { type AttachmentState, hasEnded, isLive, LIVE_ATTACHMENT_STATES, type SessionState } from './states.ts'
import {
  type AttachmentRow,
  findAttachment,
  lockAttachment,
  lockSession,
  newestAttachment,
  type SessionRow,
  updateAttachmentState,
  updateSessionState,
} from './storage.ts'

type Ctx = Pick<Context, 'sql' | 'redis' | 'logger'>

/** Who ends something: the control plane itself, a worker, or a person. */
export type Ender = { readonly kind: 'system' } | { readonly kind: 'worker'; readonly id: string } | Caller

async function audit(tx: TransactionSql, ender: Ender, event: EventBy): Promise<void> {
  if (!('kind' in ender)) await auditCaller(tx, ender, event)
  else if (ender.kind === 'worker') await auditWorker(tx, ender.id, event)
  else await auditSystem(tx, event)
}

/** The attachment with its session, both locked; undefined where there is no such attachment. */
async function lockBoth(
  tx: TransactionSql,
  attachmentId: string,
): Promise<{ session: SessionRow; attachment: AttachmentRow } | undefined> {
  const seen = await findAttachment(tx, attachmentId)
  const session = seen === undefined ? undefined : await lockSession(tx, seen.session_id)
  const attachment = session === undefined ? undefined : await lockAttachment(tx, attachmentId)
  return session === undefined || attachment === undefined ? undefined : { session, attachment }
}

function eventOf(session: SessionRow, attachment: AttachmentRow | undefined, event: string): EventBy {
  return {
    organization_id: session.organization_id,
    event,
    session_id: session.id,
    attachment_id: attachment?.id,
    resource_id: session.resource_id,
    user_id: session.user_id,
    worker_id: attachment?.worker_id,
    secret_ref: session.metadata.secret_ref ?? undefined,
  }
}

/** The reasons that stand for a limit of the policy. */
const LIMIT_OF: Readonly<Record<string, LimitName>> = {
  ERR_SESSION_IDLE_LIMIT: 'idle_seconds',
  ERR_SESSION_TIME_LIMIT: 'session_seconds',
}

/** Notes that it was a limit that ended something. */
async function auditLimit(tx: TransactionSql, ender: Ender, event: EventBy, reason: string): Promise<void> {
  const limit = LIMIT_OF[reason]
  if (limit === undefined) return
  await audit(tx, ender, { ...event, event: 'session_limit_reached', code: reason, details: { limit } })
}

export interface FailOptions {
  readonly failure: Failure
  readonly by: Ender
  /** Only an attachment in one of these states fails; another one is left as it is. */
  readonly onlyIn: readonly AttachmentState[]
  /** The reason that the worker gives a client that is still connected. */
  readonly closeReason: string
}

/**
 * Fails an attachment and what depends on it, and returns it as it is afterwards; undefined where there is none.
 *
 * A session whose first connection never came up, or that loses one in use, has failed. A connection that does not come
 * up again leaves it detached: the desktop is still on the target, and the next attempt may succeed.
 */
export async function failAttachment(
  ctx: Ctx,
  attachmentId: string,
  { failure, by, onlyIn, closeReason }: FailOptions,
): Promise<AttachmentRow | undefined> {
  const result = await ctx.sql.begin(async tx => {
    const rows = await lockBoth(tx, attachmentId)
    if (rows === undefined || !onlyIn.includes(rows.attachment.state))
      return { attachment: rows?.attachment, failed: false }
    const { session, attachment } = rows
    const comesBack = attachment.state === 'assigning' && attachment.ordinal > 1
    const failed = await updateAttachmentState(tx, attachment.id, 'failed', { failure, reason: closeReason })
    if (!hasEnded(session.state)) {
      if (comesBack) await updateSessionState(tx, session.id, 'detached', { endReason: failure.code })
      else await updateSessionState(tx, session.id, 'failed', { failure, endReason: failure.code })
    }
    await audit(tx, by, {
      ...eventOf(session, attachment, comesBack ? 'session_attach_failed' : 'session_failed'),
      outcome: 'failed',
      code: failure.code,
    })
    return { attachment: failed, failed: true }
  })
  const { attachment } = result
  if (result.failed && attachment !== undefined) {
    await releaseAttachments(ctx.redis, ctx.logger, [{ ...attachment, reason: closeReason }])
  }
  return attachment
}

export interface CloseOptions {
  readonly reason: string
  readonly by: Ender
  readonly details?: EventBy['details']
  /** Only an attachment in one of these states is closed; default: in every live one. */
  readonly onlyIn?: readonly AttachmentState[]
}

/** Closes a live attachment; its session waits, detached. Returns it as it is afterwards. */
export async function closeAttachment(
  ctx: Ctx,
  attachmentId: string,
  { reason, by, details, onlyIn = LIVE_ATTACHMENT_STATES }: CloseOptions,
): Promise<AttachmentRow | undefined> {
  const result = await ctx.sql.begin(async tx => {
    const rows = await lockBoth(tx, attachmentId)
    if (rows === undefined || !onlyIn.includes(rows.attachment.state))
      return { attachment: rows?.attachment, closed: false }
    const { session, attachment } = rows
    const closed = await updateAttachmentState(tx, attachment.id, 'closed', { reason })
    if (!hasEnded(session.state)) await updateSessionState(tx, session.id, 'detached', { endReason: reason })
    await audit(tx, by, {
      ...eventOf(session, attachment, 'session_detached'),
      ...(/^[A-Z][A-Z0-9_]*$/.test(reason) && { code: reason }),
      details,
    })
    await auditLimit(tx, by, eventOf(session, attachment, ''), reason)
    return { attachment: closed, closed: true }
  })
  const { attachment } = result
  if (result.closed && attachment !== undefined) {
    await releaseAttachments(ctx.redis, ctx.logger, [{ ...attachment, reason }])
  }
  return attachment
}

/** Detaches a session; one that is detached already stays so. Throws ProblemError ERR_SESSION_ENDED. */
export async function detachSession(ctx: Ctx, caller: Caller, sessionId: string): Promise<SessionRow> {
  return await leave(ctx, caller, { sessionId, to: 'detached', reason: 'ERR_SESSION_DETACHED' })
}

/** Ends a session for good; one that has ended, or is not in one of the states of `onlyIn`, stays as it is. */
export async function terminateSession(
  ctx: Ctx,
  by: Ender,
  sessionId: string,
  onlyIn?: readonly SessionState[],
): Promise<SessionRow> {
  return await leave(ctx, by, { sessionId, to: 'terminated', reason: 'ERR_SESSION_TERMINATED', onlyIn })
}

/**
 * Ends a session whose time by the policy has passed; nobody's word but that of the database counts for it. `attachmentId` is that of the
 * worker that says so; one that is not the live one of its session ends nothing.
 */
export async function endAtTimeLimit(
  ctx: Ctx,
  by: Ender,
  sessionId: string,
  report: { attachmentId?: string; details?: EventBy['details'] } = {},
): Promise<SessionRow> {
  const { attachmentId, details } = report
  const isDue = (session: SessionRow, live: AttachmentRow | undefined): boolean =>
    session.is_over && (attachmentId === undefined || live?.id === attachmentId)
  return await leave(ctx, by, { sessionId, to: 'terminated', reason: 'ERR_SESSION_TIME_LIMIT', isDue, details })
}

async function leave(
  ctx: Ctx,
  by: Ender,
  given: {
    sessionId: string
    to: 'detached' | 'terminated'
    reason: string
    onlyIn?: readonly SessionState[] | undefined
    isDue?: (session: SessionRow, live: AttachmentRow | undefined) => boolean
    details?: EventBy['details']
  },
): Promise<SessionRow> {
  const { sessionId, to, reason, onlyIn, isDue = () => true, details } = given
  const result = await ctx.sql.begin(async tx => {
    const session = await lockSession(tx, sessionId)
    if (session === undefined) throw new Error('session is gone')
    if ((hasEnded(session.state) || session.is_over) && to === 'detached') throw problems.ERR_SESSION_ENDED()
    const stays = hasEnded(session.state) || session.state === to || onlyIn?.includes(session.state) === false
    if (stays) return { session, closed: undefined }
    const attachment = await newestAttachment(tx, sessionId)
    const live = attachment !== undefined && isLive(attachment.state) ? attachment : undefined
    if (!isDue(session, live)) return { session, closed: undefined }
    const closed = live && (await updateAttachmentState(tx, live.id, 'closed', { reason }))
    const changed = await updateSessionState(tx, sessionId, to, { endReason: reason })
    const event = eventOf(session, attachment, to === 'detached' ? 'session_detached' : 'session_terminated')
    await audit(tx, by, { ...event, ...(reason in LIMIT_OF && { code: reason }), details })
    await auditLimit(tx, by, event, reason)
    return { session: changed, closed }
  })
  if (result.closed !== undefined) await releaseAttachments(ctx.redis, ctx.logger, [{ ...result.closed, reason }])
  return result.session
}
