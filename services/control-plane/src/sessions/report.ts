import { commonProblems } from '@rap/service-kit'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import type { Failure } from './failure.ts'
import { closeAttachment, endAtTimeLimit, failAttachment } from './finish.ts'
import { LIVE_ATTACHMENT_STATES } from './states.ts'
import {
  type AttachmentRow,
  findAttachment,
  lockAttachment,
  lockSession,
  updateAttachmentState,
  updateSessionState,
} from './storage.ts'

export interface Report {
  readonly attachmentId: string
  readonly state: 'ready' | 'failed' | 'closed'
  readonly failure: Failure | undefined
  readonly reason: string | undefined
  readonly stats: Readonly<Record<string, number>> | undefined
}

/**
 * Takes what a worker reports about one of its own attachments. A repeated report changes nothing.
 *
 * Throws ProblemError ERR_NOT_FOUND for an attachment of another worker, and ERR_ATTACHMENT_STATE, with the state in
 * force, where the report comes too late: the worker then closes what it holds.
 */
export async function reportState(ctx: Context, workerId: string, report: Report): Promise<AttachmentRow> {
  const seen = await findAttachment(ctx.sql, report.attachmentId)
  if (seen?.worker_id !== workerId) throw commonProblems.ERR_NOT_FOUND()
  const result = await takeReport(ctx, workerId, report)
  if (result?.state === report.state) return result
  throw problems.ERR_ATTACHMENT_STATE({
    extras: { state: result?.state ?? 'unknown', reason: result?.close_reason ?? null },
  })
}

async function takeReport(ctx: Context, workerId: string, report: Report): Promise<AttachmentRow | undefined> {
  const by = { kind: 'worker', id: workerId } as const
  switch (report.state) {
    case 'ready':
      return await markReady(ctx, report.attachmentId)
    case 'failed':
      return await failAttachment(ctx, report.attachmentId, {
        failure: report.failure ?? { code: 'ERR_SESSION_FAILED', title: 'The worker reported a failure' },
        by,
        onlyIn: LIVE_ATTACHMENT_STATES,
        closeReason: 'ERR_SESSION_TERMINATED',
      })
    case 'closed':
      return await takeClosed(ctx, workerId, report)
  }
}

/** A session that lasted as long as the policy allows has ended; every other one waits, detached. */
async function takeClosed(ctx: Context, workerId: string, report: Report): Promise<AttachmentRow | undefined> {
  const { attachmentId, reason = 'closed' } = report
  const by = { kind: 'worker', id: workerId } as const
  const details = statsOf(report.stats)
  if (reason !== 'ERR_SESSION_TIME_LIMIT') return await closeAttachment(ctx, attachmentId, { reason, by, details })
  const attachment = await findAttachment(ctx.sql, attachmentId)
  if (attachment !== undefined) await endAtTimeLimit(ctx, by, attachment.session_id, { attachmentId, details })
  // Where it goes on, the worker was wrong, or the policy has just given it more time: no limit was reached.
  return await closeAttachment(ctx, attachmentId, { reason: 'ERR_SESSION_DETACHED', by, details })
}

async function markReady(ctx: Context, attachmentId: string): Promise<AttachmentRow | undefined> {
  return await ctx.sql.begin(async tx => {
    const seen = await findAttachment(tx, attachmentId)
    const session = seen === undefined ? undefined : await lockSession(tx, seen.session_id)
    const attachment = session === undefined ? undefined : await lockAttachment(tx, attachmentId)
    if (session === undefined || attachment?.state !== 'assigning') return attachment
    const ready = await updateAttachmentState(tx, attachmentId, 'ready')
    await updateSessionState(tx, session.id, 'ready')
    return ready
  })
}

/** Whole numbers under plain names are kept for the audit; the rest of what a worker counts is for its metrics. */
function statsOf(stats: Report['stats']): Record<string, number> {
  const plain = Object.entries(stats ?? {}).filter(
    ([name, value]) => /^[a-z][a-z0-9_]{0,40}_(bytes|count|ms|seconds)$/.test(name) && Number.isSafeInteger(value),
  )
  return Object.fromEntries(plain)
}
