import { setTimeout as delay } from 'node:timers/promises'
import { commonProblems } from '@rap/service-kit'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { findWorker } from '../workers/storage.ts'
import { problemOfFailure, START_TIMEOUT } from './failure.ts'
import { failAttachment } from './finish.ts'
import { hasEnded } from './states.ts'
import { type AttachmentRow, findAttachment, findSession, type SessionRow } from './storage.ts'
import { type DataPlane, mintDataPlane } from './tokens.ts'

/** How often a waiter looks by itself, in milliseconds: a notice can be lost while the listener reconnects. */
const LOOK_MS = 1000

/** The answer to a start and to an attach. */
export interface Started {
  readonly session: SessionRow
  readonly attachment: AttachmentRow
  readonly dataPlane: DataPlane
}

/**
 * Waits until a worker has reported on an attachment, within SESSION_READY_TIMEOUT_SECONDS, and answers with it.
 *
 * Throws ProblemError: the failure that the worker reported, ERR_SESSION_START_TIMEOUT, or ERR_SESSION_NOT_READY where
 * somebody closed it meanwhile. Several callers may wait for one attachment. A service that drains lets them wait on:
 * the bound is shorter than the time it has.
 */
export async function awaitReady(ctx: Context, attachmentId: string): Promise<Started> {
  let attachment = await waitWhileAssigning(ctx, attachmentId)
  if (attachment.state === 'assigning') {
    const failed = await failAttachment(ctx, attachmentId, {
      failure: START_TIMEOUT,
      by: { kind: 'system' },
      // The worker may have got ready in this very moment; then it is.
      onlyIn: ['assigning'],
      closeReason: 'ERR_SESSION_TERMINATED',
    })
    attachment = failed ?? attachment
  }
  return await answerOf(ctx, attachment)
}

async function waitWhileAssigning(ctx: Context, attachmentId: string): Promise<AttachmentRow> {
  const deadline = performance.now() + ctx.config.SESSION_READY_TIMEOUT_SECONDS * 1000
  let wake: () => void = () => {}
  let noticed = new Promise<void>(resolve => {
    wake = resolve
  })
  const stop = ctx.events.on(attachmentId, () => wake())
  try {
    for (;;) {
      const attachment = await findAttachment(ctx.sql, attachmentId)
      if (attachment === undefined) throw commonProblems.ERR_NOT_FOUND()
      const left = deadline - performance.now()
      if (attachment.state !== 'assigning' || left <= 0) return attachment
      const pause = new AbortController()
      await Promise.race([noticed, pauseFor(Math.min(LOOK_MS, left), pause.signal)])
      pause.abort()
      noticed = new Promise<void>(resolve => {
        wake = resolve
      })
    }
  } finally {
    stop()
  }
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {})
}

/** The answer for an attachment that nobody waits for any more. Throws as `awaitReady` does. */
async function answerOf(ctx: Context, attachment: AttachmentRow): Promise<Started> {
  const session = await findSession(ctx.sql, attachment.session_id)
  if (session === undefined) throw commonProblems.ERR_NOT_FOUND()
  if (attachment.state === 'failed' && attachment.failure !== null)
    throw problemOfFailure(attachment.failure, session.id)
  return { session, attachment, dataPlane: await dataPlaneOf(ctx, session, attachment) }
}

/**
 * A fresh data-plane token for an attachment that can be bound to.
 * Throws ProblemError ERR_SESSION_ENDED, ERR_SESSION_NOT_READY.
 */
export async function dataPlaneOf(
  ctx: Context,
  session: SessionRow,
  attachment: AttachmentRow | undefined,
): Promise<DataPlane> {
  const extras = { session_id: session.id }
  if (hasEnded(session.state) || session.is_over) throw problems.ERR_SESSION_ENDED({ extras })
  if (attachment?.state !== 'ready' && attachment?.state !== 'active') throw problems.ERR_SESSION_NOT_READY({ extras })
  const worker = await findWorker(ctx.sql, attachment.worker_id)
  if (worker?.state !== 'active') throw problems.ERR_SESSION_NOT_READY({ extras })
  return await mintDataPlane(ctx, { session, attachment, worker })
}
