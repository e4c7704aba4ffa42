import { randomUUID } from 'node:crypto'
import { appendAuditEvent, type Logger } from '@rap/service-kit'
import type { Sql } from 'postgres'
import { problems } from '../errors.ts'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import { type KeyActor, keyEvent } from './audit.ts'
import { planRewrap, rewrap } from './rewrap.ts'

/** A re-wrap that somebody asked for over the API. */
export interface RewrapJob {
  readonly id: string
  readonly to_key_id: string
  readonly total: number
  readonly remaining: number
  readonly failed: number
  readonly state: 'running' | 'finished'
  /** Rows a second, all resolvers together. */
  readonly rate_per_second: number
  readonly seconds_left: number | null
  readonly created_at: Date
  readonly finished_at: Date | null
}

interface JobRow {
  readonly id: string
  readonly to_key_id: string
  readonly requested_by: string
  readonly request_id: string
  readonly total: number
  readonly failed: number
  readonly created_at: Date
  readonly finished_at: Date | null
  readonly seconds: number
}

/** Orders a re-wrap to the active key. Throws ProblemError ERR_REWRAP_RUNNING, ERR_MASTER_KEY_NONE_ACTIVE. */
export async function orderRewrap({ sql }: { sql: Sql }, { userId, requestId }: { userId: string; requestId: string }) {
  const id = randomUUID()
  await sql.begin(async tx => {
    const { to_key_id, total } = await planRewrap(tx as never)
    const [created] = await tx`
      insert into secrets.rewrap_jobs (id, to_key_id, requested_by, request_id, total)
      values (${id}, ${to_key_id}, ${userId}, ${requestId}, ${total})
      on conflict do nothing
      returning id`
    if (created === undefined) throw problems.ERR_REWRAP_RUNNING()
    const details = { rewrap_id: id, to_key_id, total }
    await appendAuditEvent(tx, keyEvent('secret_key_rewrap_started', actorOf(userId, requestId), { details }))
  })
  return await readRewrap(sql, id)
}

/** A job and how far it is. Throws ProblemError ERR_REWRAP_UNKNOWN. */
export async function readRewrap(sql: Sql, id: string): Promise<RewrapJob> {
  const [job] = await selectJob(sql, id)
  if (job === undefined) throw problems.ERR_REWRAP_UNKNOWN()
  return await viewOf(sql, job)
}

/** The last jobs, the newest first. */
export async function listRewraps(sql: Sql): Promise<RewrapJob[]> {
  const jobs = await sql<JobRow[]>`
    select *, extract(epoch from coalesce(finished_at, now()) - created_at)::float8 as seconds
    from secrets.rewrap_jobs order by created_at desc limit 20`
  return await Promise.all(jobs.map(job => viewOf(sql, job)))
}

/**
 * Goes on with the job that is under way, if there is one, until it is done. Every resolver does this, so a job outlives
 * the one that it was ordered from.
 */
export async function workOnRewrap({
  sql,
  keys,
  logger,
  signal,
}: {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  readonly logger: Logger
  readonly signal?: AbortSignal | undefined
}): Promise<void> {
  const [job] = await sql<JobRow[]>`select *, 0::float8 as seconds from secrets.rewrap_jobs where finished_at is null`
  if (job === undefined) return
  const result = await rewrap({ sql, keys, signal })
  for (const { row, key_id, code } of result.failures) {
    logger.error({ event: 'rewrap_row_failed', id: row, key_id, reason: code }, 'stored row does not open')
  }
  await sql.begin(async tx => {
    const [finished] = await tx`
      update secrets.rewrap_jobs set finished_at = now(), failed = ${result.failed}
      where id = ${job.id} and finished_at is null
      returning id`
    if (finished === undefined) return
    const details = { rewrap_id: job.id, to_key_id: result.to_key_id, total: job.total, failed: result.failed }
    await appendAuditEvent(
      tx,
      keyEvent('secret_key_rewrap_finished', actorOf(job.requested_by, job.request_id), {
        outcome: result.failed === 0 ? 'ok' : 'failed',
        details,
      }),
    )
  })
}

function selectJob(sql: Sql, id: string) {
  return sql<JobRow[]>`
    select *, extract(epoch from coalesce(finished_at, now()) - created_at)::float8 as seconds
    from secrets.rewrap_jobs where id = ${id}`
}

async function viewOf(sql: Sql, job: JobRow): Promise<RewrapJob> {
  const isRunning = job.finished_at === null
  const remaining = isRunning ? (await planRewrap(sql)).total : job.failed
  const rate = job.seconds > 0 ? Math.max(0, job.total - remaining) / job.seconds : 0
  return {
    id: job.id,
    to_key_id: job.to_key_id,
    total: job.total,
    remaining,
    failed: job.failed,
    state: isRunning ? 'running' : 'finished',
    rate_per_second: Math.round(rate * 10) / 10,
    seconds_left: isRunning && rate > 0 ? Math.ceil(remaining / rate) : isRunning ? null : 0,
    created_at: job.created_at,
    finished_at: job.finished_at,
  }
}

function actorOf(userId: string, requestId: string): KeyActor {
  return { actor: { kind: 'user', id: userId }, requestId }
}
