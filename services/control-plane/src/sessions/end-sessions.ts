import type { TransactionSql } from '@rap/service-kit'
import { auditSystem } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { releaseAttachments } from './coordination.ts'
import { WORKER_REVOKED } from './failure.ts'
import { hasEnded, isLive } from './states.ts'
import {
  type AttachmentRow,
  lockSession,
  newestAttachment,
  type SessionRow,
  updateAttachmentState,
  updateSessionState,
} from './storage.ts'

/** Which sessions end. */
export interface EndFilter {
  readonly organizationId: string
  readonly userId?: string
  readonly resourceId?: string
}

/** Sessions that ended in a transaction; their workers are told once it is committed. */
export interface EndedSessions {
  readonly count: number
  tellWorkers(ctx: Pick<Context, 'redis' | 'logger'>): Promise<void>
}

/** The reason that a client is shown. */
const REASON = 'ERR_SESSION_TERMINATED'

/** Ends all sessions of a user or a resource that are not over yet, inside the transaction that made them pointless. */
export async function endSessionsOf(tx: TransactionSql, filter: EndFilter): Promise<EndedSessions> {
  const rows = await tx<{ id: string }[]>`
    select id from rap.remote_sessions
    where organization_id = ${filter.organizationId} and state not in ('terminated', 'failed')
    ${filter.userId === undefined ? tx`` : tx`and user_id = ${filter.userId}`}
    ${filter.resourceId === undefined ? tx`` : tx`and resource_id = ${filter.resourceId}`}
    order by id`
  const closed: AttachmentRow[] = []
  const ended: { session: SessionRow; attachmentId: string | undefined }[] = []
  for (const { id } of rows) {
    const session = await lockSession(tx, id)
    if (session === undefined || hasEnded(session.state)) continue
    const attachment = await newestAttachment(tx, id)
    if (attachment !== undefined && isLive(attachment.state)) {
      closed.push(await updateAttachmentState(tx, attachment.id, 'closed', { reason: REASON }))
    }
    await updateSessionState(tx, id, 'terminated', { endReason: REASON })
    ended.push({ session, attachmentId: attachment?.id })
  }
  // After all rows are locked: the lock of the audit chain is the last one that any transaction takes.
  for (const { session, attachmentId } of ended) {
    await auditSystem(tx, {
      organization_id: session.organization_id,
      event: 'session_terminated',
      session_id: session.id,
      attachment_id: attachmentId,
      resource_id: session.resource_id,
      user_id: session.user_id,
      details: { cause: filter.resourceId === undefined ? 'member_changed' : 'resource_deleted' },
    })
  }
  return outcomeOf(ended.length, closed, REASON)
}

/**
 * Fails every session that is connected through a worker, inside the transaction that revokes it. One that is detached
 * goes on: its desktop is still on the target, and the next connection takes another worker.
 */
export async function failSessionsOfWorker(tx: TransactionSql, workerId: string): Promise<EndedSessions> {
  const { code } = WORKER_REVOKED
  const rows = await tx<{ session_id: string }[]>`
    select session_id from rap.session_attachments
    where worker_id = ${workerId} and state in ('assigning', 'ready', 'active') order by session_id`
  const failed: { session: SessionRow; attachment: AttachmentRow }[] = []
  for (const { session_id: id } of rows) {
    const session = await lockSession(tx, id)
    const attachment = await newestAttachment(tx, id)
    // Ended or taken over by another worker between the list and the lock.
    if (session === undefined || hasEnded(session.state) || attachment === undefined) continue
    if (attachment.worker_id !== workerId || !isLive(attachment.state)) continue
    const outcome = { failure: WORKER_REVOKED, reason: code }
    failed.push({ session, attachment: await updateAttachmentState(tx, attachment.id, 'failed', outcome) })
    await updateSessionState(tx, id, 'failed', { failure: WORKER_REVOKED, endReason: code })
  }
  // Chains are locked last, and several of them in one order.
  for (const { session, attachment } of failed.toSorted(byOrganization)) {
    await auditSystem(tx, {
      organization_id: session.organization_id,
      event: 'session_failed',
      outcome: 'failed',
      code,
      session_id: session.id,
      attachment_id: attachment.id,
      resource_id: session.resource_id,
      user_id: session.user_id,
      worker_id: workerId,
    })
  }
  return outcomeOf(
    failed.length,
    failed.map(({ attachment }) => attachment),
    code,
  )
}

function byOrganization(left: { session: SessionRow }, right: { session: SessionRow }): number {
  return left.session.organization_id < right.session.organization_id ? -1 : 1
}

function outcomeOf(count: number, attachments: readonly AttachmentRow[], reason: string): EndedSessions {
  return {
    count,
    tellWorkers: ({ redis, logger }) =>
      releaseAttachments(
        redis,
        logger,
        attachments.map(attachment => ({ ...attachment, reason })),
      ),
  }
}
