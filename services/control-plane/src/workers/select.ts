import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { chooseWorker, type NoWorkerReason } from './choose-worker.ts'
import type { Labels } from './labels.ts'
import { readHeartbeats } from './registry.ts'
import { listActiveWorkers, type WorkerRow } from './storage.ts'

const WORDS: Readonly<Record<NoWorkerReason, { detail: string; remedy: string }>> = {
  none_alive: { detail: 'No worker is running.', remedy: 'Start a worker, and look at its log if it does not stay.' },
  none_with_labels: {
    detail: 'No running worker carries the labels of the resource.',
    remedy: 'Start a worker with these labels, or change the labels of the resource.',
  },
  all_full: {
    detail: 'Every worker that fits has as many sessions as it takes.',
    remedy: 'Try again when somebody has left, or start another worker.',
  },
}

/**
 * The worker for a new attachment: active in the database, alive in Redis, right by labels, and the preferred one or else the least loaded.
 * Throws ProblemError ERR_SESSION_NO_WORKER, ERR_SESSION_COORDINATION_UNAVAILABLE.
 */
export async function selectWorker(ctx: Context, labels: Labels, preferred?: string): Promise<WorkerRow> {
  const workers = await listActiveWorkers(ctx.sql)
  const heartbeats = await readHeartbeats(
    ctx.redis,
    workers.map(worker => worker.id),
  ).catch(cause => {
    throw problems.ERR_SESSION_COORDINATION_UNAVAILABLE({ cause })
  })
  const choice = chooseWorker({
    workers: workers.map(({ id, labels: carried, live_attachments: liveAttachments }) => ({
      id,
      labels: carried,
      liveAttachments,
      heartbeat: heartbeats.get(id),
    })),
    labels,
    random: Math.random(),
    preferred,
  })
  const chosen = workers.find(worker => worker.id === choice.workerId)
  if (chosen !== undefined) return chosen
  const reason = choice.workerId === undefined ? choice.reason : 'none_alive'
  const { detail, remedy } = WORDS[reason]
  throw problems.ERR_SESSION_NO_WORKER({ detail, extras: { reason, remedy } })
}
