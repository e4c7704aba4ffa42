import { hasLabels, type Labels } from './labels.ts'

/** What is known of one worker when a session looks for a place. */
export interface WorkerFacts {
  readonly id: string
  /** Announced over mutual TLS. */
  readonly labels: Labels
  /** Attachments that the database counts for it: the load of sessions that its heartbeat does not know yet. */
  readonly liveAttachments: number
  /** From Redis; undefined when there is none or it is out of form. */
  readonly heartbeat: WorkerLoad | undefined
}

export interface WorkerLoad {
  readonly sessions: number
  readonly maxSessions: number
  readonly trafficReady: boolean
}

/** Why nobody can take the session, the most telling reason first. */
export type NoWorkerReason = 'none_alive' | 'none_with_labels' | 'all_full'

export interface ChoiceOptions {
  readonly workers: readonly WorkerFacts[]
  /** Labels of the resource; a worker must carry all of them. */
  readonly labels: Labels
  /** From 0 up to, not including, 1: spreads sessions over workers of equal load. */
  readonly random: number
  /** The worker that has it where it can: it holds something of the session. */
  readonly preferred?: string | undefined
}

/**
 * Chooses the worker of a session: alive, with every label of the resource, with room, and the preferred one, or
 * else the least loaded by share of its own maximum. The load is the larger of what the worker says and what the database counts.
 */
export function chooseWorker(
  options: ChoiceOptions,
): { readonly workerId: string } | { readonly workerId?: undefined; readonly reason: NoWorkerReason } {
  const alive = options.workers.filter(worker => worker.heartbeat?.trafficReady === true)
  if (alive.length === 0) return { reason: 'none_alive' }
  const matching = alive.filter(worker => hasLabels(worker.labels, options.labels))
  if (matching.length === 0) return { reason: 'none_with_labels' }
  const loads = matching.map(worker => ({ id: worker.id, share: shareOf(worker) })).filter(({ share }) => share < 1)
  if (loads.length === 0) return { reason: 'all_full' }
  if (loads.some(({ id }) => id === options.preferred)) return { workerId: options.preferred as string }
  const least = Math.min(...loads.map(({ share }) => share))
  const equals = loads.filter(({ share }) => share === least)
  const chosen = equals[Math.floor(options.random * equals.length)] ?? equals[0]
  return chosen === undefined ? { reason: 'all_full' } : { workerId: chosen.id }
}

function shareOf({ heartbeat, liveAttachments }: WorkerFacts): number {
  if (heartbeat === undefined || heartbeat.maxSessions <= 0) return 1
  return Math.max(heartbeat.sessions, liveAttachments) / heartbeat.maxSessions
}
