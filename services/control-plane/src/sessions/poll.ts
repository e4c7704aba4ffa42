import type { Sql } from '@rap/service-kit'
import { type Channel, Channels, SessionLimits } from '@rap/session-policy'
import { type Static, Type } from '@sinclair/typebox'
import { Nullable, Time, Uuid } from '../http/schemas.ts'
import { LIVE_ATTACHMENT_STATES } from './states.ts'
import { secondsLeft } from './storage.ts'

/** Most attachments, and most sessions, that a worker asks about at once. */
export const MAX_POLLED = 1000

/** One attachment as its worker must have it from now on. */
export const PolledAttachment = Type.Object({
  attachment_id: Uuid,
  session_id: Nullable(Uuid),
  state: Type.String(),
  reason: Nullable(Type.String()),
  allowed_channels: Channels,
  limits: Nullable(SessionLimits),
  session_ends_at: Nullable(Time),
  /** Until then, at the time of the answer: a worker's clock has no say in it. */
  session_seconds_left: Nullable(Type.Number()),
})
export type PolledAttachment = Static<typeof PolledAttachment>

interface Asked {
  readonly attachmentIds: readonly string[]
  readonly sessionIds: readonly string[]
}

/**
 * What a worker has to know about its attachments and its sessions. A session is `live` while it goes on and no other worker has it: then
 * what the worker keeps for it is kept.
 */
export async function answerPoll(sql: Sql, workerId: string, { attachmentIds, sessionIds }: Asked) {
  const rows = await sql<PolledRow[]>`
    select a.id, a.session_id, a.state, a.close_reason, a.allowed_channels, a.limits, s.ends_at, ${secondsLeft(sql)} as seconds_left
    from rap.session_attachments a join rap.remote_sessions s on s.id = a.session_id
    where a.worker_id = ${workerId} and a.id = any(${attachmentIds as string[]})`
  const known = new Map(rows.map(row => [row.id, row]))
  const live = await liveSessions(sql, workerId, sessionIds)
  return {
    attachments: [...new Set(attachmentIds)].map(id => attachmentOf(id, known.get(id))),
    sessions: [...new Set(sessionIds)].map(id => ({ session_id: id, live: live.has(id) })),
  }
}

interface PolledRow {
  readonly id: string
  readonly session_id: string
  readonly state: string
  readonly close_reason: string | null
  readonly allowed_channels: Channel[]
  readonly limits: SessionLimits
  readonly ends_at: Date | null
  readonly seconds_left: number | null
}

/** Neither an attachment that is not there nor one of another worker is any of this worker's business. */
function attachmentOf(id: string, row: PolledRow | undefined): PolledAttachment {
  if (row === undefined) return { ...NOTHING, attachment_id: id, session_id: null, state: 'unknown', reason: null }
  const place = { attachment_id: id, session_id: row.session_id, state: row.state, reason: row.close_reason }
  if (!(LIVE_ATTACHMENT_STATES as readonly string[]).includes(row.state)) return { ...NOTHING, ...place }
  const { allowed_channels, limits, ends_at: endsAt, seconds_left } = row
  const end = { session_ends_at: endsAt?.toISOString() ?? null, session_seconds_left: seconds_left }
  return { ...place, allowed_channels, limits, ...end }
}

const NOTHING = { allowed_channels: [], limits: null, session_ends_at: null, session_seconds_left: null }

async function liveSessions(sql: Sql, workerId: string, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  const rows = await sql<{ id: string }[]>`
    select s.id from rap.remote_sessions s
    where s.id = any(${ids as string[]}) and s.state not in ('terminated', 'failed')
      and ${workerId} = (
        select a.worker_id from rap.session_attachments a where a.session_id = s.id order by a.ordinal desc limit 1)`
  return new Set(rows.map(row => row.id))
}
