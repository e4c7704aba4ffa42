import type { TransactionSql } from '@rap/service-kit'
import { auditSystem } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { releaseAttachments } from './coordination.ts'
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
  return {
    count: ended.length,
    tellWorkers: ({ redis, logger }) =>
      releaseAttachments(
        redis,
        logger,
        closed.map(attachment => ({ ...attachment, reason: REASON })),
      ),
  }
}
