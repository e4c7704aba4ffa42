import type { Logger, Redis } from '@rap/service-kit'
import { type AssignmentClaims, type KeyLookup, MAX_TOKEN_CHARACTERS, TokenError, verifyToken } from '@rap/token-claims'

/** How long one read waits for an assignment, in milliseconds; it bounds how late a stop is seen. */
const BLOCK_MS = 2000
/** Most assignments of one read. */
const BATCH = 16
/** Pause after Redis failed, in milliseconds. */
const RETRY_MS = 500
/** An assignment lives for a minute; ids are remembered for longer than that. */
const REMEMBER_MS = 5 * 60_000

export interface IntakeOptions {
  /** A connection of its own: a blocking read holds it. */
  readonly redis: Redis
  /** Only what is newer counts, see `newestAssignment`: those who waited for older ones have given up. */
  readonly after: string
  readonly workerId: string
  readonly keys: KeyLookup
  readonly issuer: string
  readonly logger: Logger
  readonly onAssignment: (assignment: AssignmentClaims) => void
  readonly signal: AbortSignal
}

/**
 * Reads this worker's assignments until `signal` is aborted.
 *
 * Redis is not trusted: an assignment counts only with the control plane's signature, for this worker, once.
 */
export async function takeAssignments(options: IntakeOptions): Promise<void> {
  const { redis, workerId, logger, signal } = options
  const stream = streamOf(workerId)
  const seen = new Map<string, number>()
  let last = options.after
  while (!signal.aborted) {
    try {
      const answer = await redis.xread('COUNT', BATCH, 'BLOCK', BLOCK_MS, 'STREAMS', stream, last)
      for (const [id, fields] of answer?.[0]?.[1] ?? []) {
        last = id
        const assignment = await accept(fields[1], options)
        if (assignment === undefined || !isFirst(seen, assignment.assignment_id)) continue
        options.onAssignment(assignment)
      }
    } catch (error) {
      if (signal.aborted) return
      logger.warn({ event: 'assignments_not_read', err: error }, 'assignments not read')
      await new Promise(resolve => setTimeout(resolve, RETRY_MS))
    }
  }
}

/** The id of the newest assignment. A real id, and not `$`: between two blocking reads from `$` an assignment would be lost. */
export async function newestAssignment(redis: Redis, workerId: string): Promise<string> {
  const [newest] = await redis.xrevrange(streamOf(workerId), '+', '-', 'COUNT', 1)
  return newest?.[0] ?? '0-0'
}

const streamOf = (workerId: string): string => `rap:worker:${workerId}:assignments`

/** Verifies one entry of the stream; undefined where it is none of ours. */
export async function accept(
  text: string | undefined,
  { keys, issuer, workerId, logger }: Pick<IntakeOptions, 'keys' | 'issuer' | 'workerId' | 'logger'>,
): Promise<AssignmentClaims | undefined> {
  if (text === undefined || text.length > MAX_TOKEN_CHARACTERS) {
    logger.warn({ event: 'assignment_refused', code: 'ERR_TOKEN_TOO_LARGE' }, 'assignment refused')
    return undefined
  }
  try {
    const claims = await verifyToken('assignment', text, { keys, issuer, nowSeconds: Math.floor(Date.now() / 1000) })
    if (claims.worker_id === workerId) return claims
    logger.warn({ event: 'assignment_refused', code: 'ERR_ASSIGNMENT_WRONG_WORKER' }, 'assignment refused')
  } catch (error) {
    const code = error instanceof TokenError ? error.code : 'ERR_ASSIGNMENT_UNVERIFIED'
    logger.warn({ event: 'assignment_refused', code }, 'assignment refused')
  }
  return undefined
}

function isFirst(seen: Map<string, number>, id: string): boolean {
  const now = performance.now()
  for (const [old, at] of seen) {
    if (now - at < REMEMBER_MS) break
    seen.delete(old)
  }
  if (seen.has(id)) return false
  seen.set(id, now)
  return true
}
