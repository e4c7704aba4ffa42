import type { Logger, Redis } from '@rap/service-kit'
import { type AssignmentClaims, type KeyLookup, PURPOSES, TokenError, verifyToken } from '@rap/token-claims'
import type { WorkerAudit } from '../control-plane/audit.ts'

/** How long one read waits for an assignment, in milliseconds; it bounds how late a stop is seen. */
const BLOCK_MS = 2000
/** Most assignments of one read. */
const BATCH = 16
/** Pause after Redis failed, in milliseconds. */
const RETRY_MS = 500
/** An assignment lives for a minute; ids are remembered for longer than that, clocks that differ included. */
const REMEMBER_MS = 2 * 60_000
/** Most ids that are remembered, and so most assignments in that time: many times what a worker has room for. */
const MAX_REMEMBERED = 20_000

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
  readonly audit: Pick<WorkerAudit, 'report'>
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
  const seen = new SeenIds()
  let last = options.after
  while (!signal.aborted) {
    try {
      // As bytes: an entry that is too long for a string would fail the whole read, again and again.
      const answer = await redis.xreadBuffer('COUNT', BATCH, 'BLOCK', BLOCK_MS, 'STREAMS', stream, last)
      const entries = entriesOf(answer)
      last = entries.at(-1)?.[0].toString('latin1') ?? last
      // All at once: it may take a second to find out that nobody knows a key, and made-up ones hold up nobody else's order.
      for (const assignment of await Promise.all(entries.map(([, fields]) => accept(textOf(fields[1]), options)))) {
        if (assignment === undefined) continue
        if (seen.isFirst(assignment.assignment_id, performance.now())) options.onAssignment(assignment)
        else refuse('ERR_ASSIGNMENT_REPEATED', options)
      }
      // A stream that was begun anew by a Redis with another clock may count from below.
      if (answer === null && isBefore(await newestAssignment(redis, workerId), last)) last = '0-0'
    } catch (error) {
      if (signal.aborted) return
      logger.warn({ event: 'assignments_not_read', err: error }, 'assignments not read')
      // The key is this worker's own. Whoever put something else there must not keep it deaf for good.
      if (isWrongType(error)) await redis.eval(CLEAR, 1, stream).catch(() => undefined)
      // A read that is not even answered at the end of its wait goes over a connection that is dead.
      if ((error as Error).message === 'Command timed out') redis.disconnect(true)
      await new Promise(resolve => setTimeout(resolve, RETRY_MS))
    }
  }
}

/** The id of the newest assignment. A real id, and not `$`: between two blocking reads from `$` an assignment would be lost. */
export async function newestAssignment(redis: Redis, workerId: string): Promise<string> {
  try {
    const [newest] = await redis.xrevrangeBuffer(streamOf(workerId), '+', '-', 'COUNT', 1)
    return newest?.[0].toString('latin1') ?? '0-0'
  } catch (error) {
    if (isWrongType(error)) return '0-0'
    throw error
  }
}

/** Takes away what is no stream; in one step, since the control plane may begin a real one at any time. */
const CLEAR = `if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then return redis.call('DEL', KEYS[1]) end return 0`

/** The key holds something that is no stream. */
const isWrongType = (error: unknown): boolean => error instanceof Error && error.message.startsWith('WRONGTYPE')

/** Compares the ids of two entries: milliseconds, then a number. */
export function isBefore(id: string, other: string): boolean {
  const [ms = 0n, number = 0n] = id.split('-').map(BigInt)
  const [otherMs = 0n, otherNumber = 0n] = other.split('-').map(BigInt)
  return ms < otherMs || (ms === otherMs && number < otherNumber)
}

/** XREAD of one stream: its name, and its entries, each an id and fields with values in turn. */
function entriesOf(answer: unknown): readonly (readonly [Buffer, readonly Buffer[]])[] {
  const [stream] = (answer ?? []) as [Buffer, [Buffer, Buffer[]][]][]
  return stream?.[1] ?? []
}

/** Anybody who can write to Redis can write half a gigabyte; a token is short, and ASCII. */
function textOf(value: Buffer | undefined): string | undefined {
  return value === undefined || value.length > PURPOSES.assignment.maxCharacters ? undefined : value.toString('latin1')
}

const streamOf = (workerId: string): string => `rap:worker:${workerId}:assignments`

/** Verifies one entry of the stream; undefined where it is none of ours. */
export async function accept(
  text: string | undefined,
  options: Pick<IntakeOptions, 'keys' | 'issuer' | 'workerId' | 'logger' | 'audit'>,
): Promise<AssignmentClaims | undefined> {
  const { keys, issuer, workerId } = options
  if (text === undefined || text.length > PURPOSES.assignment.maxCharacters) {
    return refuse('ERR_TOKEN_TOO_LARGE', options)
  }
  try {
    const claims = await verifyToken('assignment', text, { keys, issuer, nowSeconds: Math.floor(Date.now() / 1000) })
    return claims.worker_id === workerId ? claims : refuse('ERR_ASSIGNMENT_WRONG_WORKER', options)
  } catch (error) {
    return refuse(error instanceof TokenError ? error.code : 'ERR_ASSIGNMENT_UNVERIFIED', options)
  }
}

/** Somebody else than the control plane writes to Redis, or repeats what it wrote. */
function refuse(code: string, { logger, audit }: Pick<IntakeOptions, 'logger' | 'audit'>): undefined {
  logger.warn({ event: 'assignment_refused', code }, 'assignment refused')
  void audit.report({ event: 'assignment_refused', code }, 'stranger')
}

/** Remembers ids for a while. INVARIANT: at most MAX_REMEMBERED; beyond them every id counts as one that was seen. */
export class SeenIds {
  readonly #at = new Map<string, number>()

  get size(): number {
    return this.#at.size
  }

  /** True for an id that was not seen within REMEMBER_MS; `nowMs` is a monotonic reading. */
  isFirst(id: string, nowMs: number): boolean {
    for (const [old, at] of this.#at) {
      if (nowMs - at < REMEMBER_MS) break
      this.#at.delete(old)
    }
    if (this.#at.has(id) || this.#at.size >= MAX_REMEMBERED) return false
    this.#at.set(id, nowMs)
    return true
  }
}
