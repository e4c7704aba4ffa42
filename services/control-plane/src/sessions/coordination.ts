import type { Logger, Redis } from '@rap/service-kit'
import type { AttachmentRow } from './storage.ts'

/** Life of a lease without renewal, in milliseconds; the worker renews every 10 seconds. */
export const LEASE_MS = 30_000
/** About as many assignments as a worker's stream keeps. */
const STREAM_LENGTH = 1000
/** How long a request waits until its hints are sent, in milliseconds. */
const TELL_MS = 300
/** Longest lease value that is read, in bytes; Redis is not trusted. */
const MAX_LEASE_BYTES = 1024

export const leaseKey = (leaseId: string) => `rap:lease:${leaseId}`
export const assignmentsKey = (workerId: string) => `rap:worker:${workerId}:assignments`
export const controlChannel = (workerId: string) => `rap:worker:${workerId}:control`

type Leased = Pick<AttachmentRow, 'id' | 'session_id' | 'worker_id' | 'lease_id'>

function leaseValue({ id, session_id, worker_id, lease_id }: Leased): string {
  return JSON.stringify({ lease_id, worker_id, session_id, attachment_id: id })
}

/** Writes the lease and hands the signed assignment to the worker, both or neither as far as Redis can. */
export async function dispatchAssignment(redis: Redis, attachment: Leased, assignment: string): Promise<void> {
  const results = await redis
    .multi()
    .set(leaseKey(attachment.lease_id), leaseValue(attachment), 'PX', LEASE_MS)
    .xadd(assignmentsKey(attachment.worker_id), 'MAXLEN', '~', STREAM_LENGTH, '*', 'assignment', assignment)
    .exec()
  const failed = results?.find(([error]) => error !== null)
  if (results === null || failed !== undefined) throw failed?.[0] ?? new Error('redis transaction was discarded')
}

/**
 * Ends the lease of attachments and tells their workers at once. A lost message costs 1.5 seconds, since workers also
 * ask for the state of their attachments: so a Redis that is away is logged and not an error.
 */
export async function releaseAttachments(
  redis: Redis,
  logger: Logger,
  attachments: readonly (Leased & { reason: string })[],
): Promise<void> {
  if (attachments.length === 0) return
  const pipeline = redis.pipeline()
  for (const attachment of attachments) {
    pipeline.del(leaseKey(attachment.lease_id))
    pipeline.publish(
      controlChannel(attachment.worker_id),
      JSON.stringify({ type: 'close_attachment', attachment_id: attachment.id, reason: attachment.reason }),
    )
  }
  await tell(pipeline, logger, attachments.length)
}

/** Tells workers to ask about attachments whose policy changed; they ask every 1.5 seconds in any case. */
export async function hintAttachments(
  redis: Redis,
  logger: Logger,
  attachments: readonly Pick<Leased, 'id' | 'worker_id'>[],
): Promise<void> {
  if (attachments.length === 0) return
  const pipeline = redis.pipeline()
  for (const { id, worker_id: workerId } of attachments) {
    pipeline.publish(controlChannel(workerId), JSON.stringify({ type: 'policy', attachment_id: id }))
  }
  await tell(pipeline, logger, attachments.length)
}

/** Sends hints. Nobody waits long for a Redis that is away: what the hints are about is in force without them. */
async function tell(pipeline: ReturnType<Redis['pipeline']>, logger: Logger, count: number): Promise<void> {
  const told = pipeline.exec().then(
    () => undefined,
    (error: unknown) => {
      logger.warn({ event: 'worker_not_told', count, err: error }, 'workers were not told at once')
    },
  )
  let timer: NodeJS.Timeout | undefined
  const enough = new Promise<void>(resolve => {
    timer = setTimeout(resolve, TELL_MS)
  })
  await Promise.race([told, enough])
  clearTimeout(timer)
}

/** Which of these attachments hold a lease that names them. Rejects when Redis does not answer all of it. */
export async function attachmentsWithLease(redis: Redis, attachments: readonly Leased[]): Promise<Set<string>> {
  const pipeline = redis.pipeline()
  for (const { lease_id: leaseId } of attachments) pipeline.getrange(leaseKey(leaseId), 0, MAX_LEASE_BYTES)
  const results = (await pipeline.exec()) ?? []
  const held = new Set<string>()
  for (const [index, attachment] of attachments.entries()) {
    const [error, value] = results[index] ?? [new Error('redis answered too little'), undefined]
    // A key of another type is no lease; any other error says nothing about the lease.
    if (error !== null && !error.message.startsWith('WRONGTYPE')) throw error
    if (isLeaseOf(value, attachment)) held.add(attachment.id)
  }
  return held
}

function isLeaseOf(value: unknown, attachment: Leased): boolean {
  if (typeof value !== 'string' || value === '' || value.length > MAX_LEASE_BYTES) return false
  try {
    const lease = JSON.parse(value) as Record<string, unknown> | null
    return (
      lease?.lease_id === attachment.lease_id &&
      lease.worker_id === attachment.worker_id &&
      lease.session_id === attachment.session_id &&
      lease.attachment_id === attachment.id
    )
  } catch {
    return false
  }
}
