import { deleteExpiredTokens } from '../auth/storage.ts'
import type { Context } from '../context.ts'
import { deleteEndedCertificates } from '../platform-ca/register.ts'
import { keepSigningKeys } from '../trust/schedule.ts'
import { attachmentsWithLease } from './coordination.ts'
import { LEASE_LOST, START_TIMEOUT, WORKER_REVOKED } from './failure.ts'
import { closeAttachment, endAtTimeLimit, failAttachment, terminateSession } from './finish.ts'
import { deleteExpiredKeys } from './idempotency.ts'
import { LIVE_ATTACHMENT_STATES } from './states.ts'

/** Time between two sweeps, in milliseconds. */
export const SWEEP_MS = 5000
/** Sweeps in a row that must find no lease. */
const MISSED_SWEEPS = 2
/**
 * How long a lease must be missing as well, in milliseconds. A worker renews every 10 seconds, and after Redis was
 * emptied that renewal is what brings the lease back.
 */
const LEASE_GRACE_MS = 12_000
/** A worker closes a target that nobody binds to after 60 seconds; later than this it has forgotten to. */
const READY_LIMIT_SECONDS = 120
/** A start waits for SESSION_READY_TIMEOUT_SECONDS; one that is older lost the instance that waited for it. */
const ASSIGNING_SLACK_SECONDS = 15
/** Rows that one sweep looks at and removes at a time. */
const BATCH = 500
/** Of several instances, one sweeps. */
const REAPER_LOCK = 'rap.reaper'

export interface SweepOptions {
  readonly leaseGraceMs?: number
}

type LiveRow = { id: string; session_id: string; worker_id: string; lease_id: string }

/**
 * One round: attachments whose worker is gone, starts that nobody waits for, connections that nobody came to, sessions past
 * a limit, and rows that have expired. Returns false where another instance is at it.
 */
export async function sweep(ctx: Context, options: SweepOptions = {}): Promise<boolean> {
  const lock = await ctx.sql.reserve()
  try {
    const [row] = await lock<{ locked: boolean }[]>`
      select pg_try_advisory_lock(hashtextextended(${REAPER_LOCK}, 0)) as locked`
    if (row?.locked !== true) return false
    try {
      await sweepRevoked(ctx)
      await sweepLeases(ctx, options)
      await sweepStale(ctx)
      await sweepExpired(ctx)
    } finally {
      await lock`select pg_advisory_unlock(hashtextextended(${REAPER_LOCK}, 0))`
    }
    return true
  } finally {
    lock.release()
  }
}

/** Fails what was ordered from a worker in the very moment of its revocation: it may keep its lease alive for ever. */
async function sweepRevoked(ctx: Context): Promise<void> {
  const rows = await ctx.sql<{ id: string }[]>`
    select a.id from rap.session_attachments a join rap.workers w on w.id = a.worker_id
    where w.state = 'revoked' and a.state in ('assigning', 'ready', 'active') limit ${BATCH}`
  for (const { id } of rows) {
    await failAttachment(ctx, id, {
      failure: WORKER_REVOKED,
      by: { kind: 'system' },
      onlyIn: LIVE_ATTACHMENT_STATES,
      closeReason: WORKER_REVOKED.code,
    })
  }
}

/** Fails sessions whose worker holds no lease any more. A Redis that does not answer says nothing about workers. */
async function sweepLeases(ctx: Context, { leaseGraceMs = LEASE_GRACE_MS }: SweepOptions): Promise<void> {
  for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
    const rows = await ctx.sql<LiveRow[]>`
      select id, session_id, worker_id, lease_id from rap.session_attachments
      where state in ('assigning', 'ready', 'active') and id > ${after} order by id limit ${BATCH}`
    const last = rows.at(-1)
    if (last === undefined) return
    let held: Set<string>
    try {
      held = await attachmentsWithLease(ctx.redis, rows)
    } catch (error) {
      ctx.logger.warn({ event: 'leases_not_read', err: error }, 'leases could not be read')
      return
    }
    const missing = rows.filter(row => !held.has(row.id)).map(row => row.id)
    await ctx.sql`
      update rap.session_attachments set lease_missed_sweeps = 0, lease_missing_since = null
      where id in (${inOrder(ctx.sql, [...held])}) and lease_missed_sweeps > 0`
    const counted = await ctx.sql<{ id: string; lost: boolean }[]>`
      update rap.session_attachments set
        lease_missed_sweeps = least(lease_missed_sweeps + 1, 1000),
        lease_missing_since = coalesce(lease_missing_since, now())
      where id in (${inOrder(ctx.sql, missing)}) and state in ('assigning', 'ready', 'active')
      returning id, lease_missed_sweeps >= ${MISSED_SWEEPS}
        and lease_missing_since <= now() - make_interval(secs => ${leaseGraceMs / 1000}) as lost`
    for (const { id } of counted.filter(row => row.lost)) {
      await failAttachment(ctx, id, {
        failure: LEASE_LOST,
        by: { kind: 'system' },
        onlyIn: ['assigning', 'ready', 'active'],
        closeReason: 'ERR_SESSION_LEASE_LOST',
      })
      ctx.logger.warn({ event: 'lease_lost', attachment_id: id }, 'lease lost')
    }
    after = last.id
  }
}

/** Several attachments are locked in the order of their sessions by everybody, so that nobody waits in a circle. */
function inOrder(sql: Context['sql'], ids: readonly string[]) {
  return sql`
    select id from rap.session_attachments where id = any(${ids as string[]}) order by session_id for no key update`
}

async function sweepStale(ctx: Context): Promise<void> {
  const { sql, config } = ctx
  const stuck = await sql<{ id: string }[]>`
    select id from rap.session_attachments where state = 'assigning'
      and created_at < now() - make_interval(secs => ${config.SESSION_READY_TIMEOUT_SECONDS + ASSIGNING_SLACK_SECONDS})
    limit ${BATCH}`
  for (const { id } of stuck) {
    await failAttachment(ctx, id, {
      failure: START_TIMEOUT,
      by: { kind: 'system' },
      onlyIn: ['assigning'],
      closeReason: 'ERR_SESSION_TERMINATED',
    })
  }
  const unbound = await sql<{ id: string }[]>`
    select id from rap.session_attachments where state = 'ready'
      and ready_at < now() - make_interval(secs => ${READY_LIMIT_SECONDS}) limit ${BATCH}`
  for (const { id } of unbound) {
    await closeAttachment(ctx, id, { reason: 'ERR_BIND_TIMEOUT', by: { kind: 'system' }, onlyIn: ['ready'] })
  }
  const forgotten = await sql<{ id: string }[]>`
    select id from rap.remote_sessions where state = 'detached'
      and updated_at < now() - make_interval(hours => ${config.SESSION_DETACHED_LIMIT_HOURS}) limit ${BATCH}`
  for (const { id } of forgotten) await terminateSession(ctx, { kind: 'system' }, id, ['detached'])
  const over = await sql<{ id: string }[]>`
    select id from rap.remote_sessions where ends_at <= now()
      and state in ('assigning', 'ready', 'active', 'detached') order by ends_at limit ${BATCH}`
  for (const { id } of over) await endAtTimeLimit(ctx, { kind: 'system' }, id)
}

async function sweepExpired(ctx: Context): Promise<void> {
  const { sql } = ctx
  // Far beyond the clock tolerance of a token: until then its jti must be remembered.
  await sql`
    delete from rap.data_plane_token_jtis where ctid = any(array(
      select ctid from rap.data_plane_token_jtis where exp < now() - interval '10 minutes' limit ${BATCH}))`
  await deleteExpiredKeys(sql, BATCH)
  await deleteExpiredTokens(sql, BATCH)
  await deleteEndedCertificates(sql, BATCH)
  await keepSigningKeys(ctx)
}

/** Sweeps until the returned function is called; that waits for a sweep that is under way. */
export function startReaper(ctx: Context): () => Promise<void> {
  let running: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  const schedule = () => {
    if (isClosed) return
    timer = setTimeout(() => {
      running = sweep(ctx)
        .catch(error => ctx.logger.error({ event: 'sweep_failed', err: error }, 'sweep failed'))
        .then(schedule)
    }, SWEEP_MS)
  }
  schedule()
  return async () => {
    isClosed = true
    clearTimeout(timer)
    await running
  }
}
