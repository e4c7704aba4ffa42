import type { Sql, TransactionSql } from '@rap/service-kit'
import type { Channel, EffectivePolicy, SessionLimits } from '@rap/session-policy'
import type { TimeCursor } from '../http/page.ts'
import type { Role } from '../organizations/permissions.ts'
import type { Failure } from './failure.ts'
import type { PolicySubject } from './policy.ts'
import { type AttachmentState, LIVE_ATTACHMENT_STATES, type SessionState } from './states.ts'

type Db = Sql | TransactionSql

export interface SessionRow {
  readonly id: string
  readonly organization_id: string
  readonly resource_id: string
  readonly user_id: string
  readonly state: SessionState
  readonly metadata: { readonly secret_ref?: string | null }
  readonly failure: Failure | null
  readonly end_reason: string | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly ended_at: Date | null
  /** When the policy ends it; null where nothing does. */
  readonly ends_at: Date | null
  /** Until then by the database's clock; null where nothing ends it. */
  readonly seconds_left: number | null
  /** True once `ends_at` has passed by the database's clock. */
  readonly is_over: boolean
}

export interface AttachmentRow {
  readonly id: string
  readonly organization_id: string
  readonly session_id: string
  readonly ordinal: number
  readonly worker_id: string
  readonly lease_id: string
  readonly state: AttachmentState
  readonly dpop_jkt: string
  readonly allowed_channels: Channel[]
  /** Those inside the RDP stream; channels beside it are not noted, since they may be bound again. */
  readonly bound_channels: Channel[]
  readonly limits: SessionLimits
  readonly supersedes_attachment_id: string | null
  readonly failure: Failure | null
  readonly close_reason: string | null
  readonly created_at: Date
  readonly ready_at: Date | null
  readonly bound_at: Date | null
  readonly closed_at: Date | null
}

/** The time that is left of a session `s`; not from the beginning of a transaction, which may have waited. */
export function secondsLeft(db: Db) {
  return db`extract(epoch from s.ends_at - clock_timestamp())::float8`
}

function sessionColumns(db: Db) {
  return db`s.id, s.organization_id, s.resource_id, s.user_id, s.state, s.metadata, s.failure, s.end_reason, s.created_at,
    s.updated_at, s.ended_at, s.ends_at, ${secondsLeft(db)} as seconds_left, coalesce(s.ends_at <= now(), false) as is_over`
}

function attachmentColumns(db: Db) {
  return db`a.id, a.organization_id, a.session_id, a.ordinal, a.worker_id, a.lease_id, a.state, a.dpop_jkt,
    a.allowed_channels, a.bound_channels, a.limits, a.supersedes_attachment_id, a.failure, a.close_reason, a.created_at, a.ready_at,
    a.bound_at, a.closed_at`
}

/** A session of one of the user's organizations, with the user's role there; one that is elsewhere is not there. */
export async function findSessionFor(
  db: Db,
  userId: string,
  id: string,
): Promise<(SessionRow & { readonly role: Role }) | undefined> {
  const [row] = await db<(SessionRow & { role: Role })[]>`
    select ${sessionColumns(db)}, m.role
    from rap.remote_sessions s
    join rap.memberships m on m.organization_id = s.organization_id and m.user_id = ${userId}
    where s.id = ${id}`
  return row
}

/** Locks a session. INVARIANT: the session is locked before its attachments, so that nobody waits in a circle. */
export async function lockSession(tx: TransactionSql, id: string): Promise<SessionRow | undefined> {
  const [row] = await tx<SessionRow[]>`
    select ${sessionColumns(tx)} from rap.remote_sessions s where s.id = ${id} for update`
  return row
}

export async function findSession(db: Db, id: string): Promise<SessionRow | undefined> {
  const [row] = await db<SessionRow[]>`select ${sessionColumns(db)} from rap.remote_sessions s where s.id = ${id}`
  return row
}

export async function findAttachment(db: Db, id: string): Promise<AttachmentRow | undefined> {
  const [row] = await db<AttachmentRow[]>`
    select ${attachmentColumns(db)} from rap.session_attachments a where a.id = ${id}`
  return row
}

/** Locks an attachment of a session that is locked already. */
export async function lockAttachment(tx: TransactionSql, id: string): Promise<AttachmentRow | undefined> {
  const [row] = await tx<AttachmentRow[]>`
    select ${attachmentColumns(tx)} from rap.session_attachments a where a.id = ${id} for update`
  return row
}

/** The newest attachment of a session: the only one that can be live. */
export async function newestAttachment(db: Db, sessionId: string): Promise<AttachmentRow | undefined> {
  const [row] = await db<AttachmentRow[]>`
    select ${attachmentColumns(db)} from rap.session_attachments a
    where a.session_id = ${sessionId} order by a.ordinal desc limit 1`
  return row
}

export interface SessionFilter {
  readonly organizationIds: readonly string[]
  /** Only sessions of this user where the role of the caller sees no others. */
  readonly ownOnlyIn: readonly string[]
  readonly userId: string
  readonly state: SessionState | undefined
  readonly resourceId: string | undefined
}

/** The state as `stateOf` shows it. */
function shownState(db: Db) {
  return db`case when s.ends_at <= now() and s.state <> 'failed' then 'terminated' else s.state end`
}

/** Newest first. */
export async function listSessions(
  db: Db,
  filter: SessionFilter,
  { after, limit }: { after: TimeCursor | undefined; limit: number },
): Promise<(SessionRow & { place: string })[]> {
  return await db<(SessionRow & { place: string })[]>`
    select ${sessionColumns(db)},
      to_char(s.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || s.id as place
    from rap.remote_sessions s
    where (s.organization_id = any(${filter.organizationIds as string[]})
      or (s.organization_id = any(${filter.ownOnlyIn as string[]}) and s.user_id = ${filter.userId}))
    ${filter.state === undefined ? db`` : db`and ${shownState(db)} = ${filter.state}`}
    ${filter.resourceId === undefined ? db`` : db`and s.resource_id = ${filter.resourceId}`}
    ${after === undefined ? db`` : db`and (s.created_at, s.id) < (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by s.created_at desc, s.id desc limit ${limit}`
}

/** Counts the connected sessions of an organization and of one user in it; a lock makes the count hold until commit. */
export async function countConnected(
  tx: TransactionSql,
  organizationId: string,
  userId: string,
): Promise<{ organization: number; user: number }> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${`rap.session_limits:${organizationId}`}, 0))`
  const [row] = await tx<{ organization: number; user: number }[]>`
    select count(*)::int as organization, (count(*) filter (where user_id = ${userId}))::int as user
    from rap.remote_sessions
    where organization_id = ${organizationId} and state in ('assigning', 'ready', 'active')`
  return row ?? { organization: 0, user: 0 }
}

export async function insertSession(
  tx: TransactionSql,
  session: PolicySubject & { secretRef: string | null; limits: SessionLimits },
): Promise<SessionRow> {
  const [row] = await tx<SessionRow[]>`
    insert into rap.remote_sessions as s (organization_id, resource_id, user_id, metadata, ends_at)
    values (${session.organizationId}, ${session.resourceId}, ${session.userId},
      ${tx.json({ secret_ref: session.secretRef })}, now() + make_interval(secs => ${session.limits.session_seconds}))
    returning ${sessionColumns(tx)}`
  if (row === undefined) throw new Error('session was not made')
  return row
}

export interface NewAttachment {
  readonly session: Pick<SessionRow, 'id' | 'organization_id'>
  readonly ordinal: number
  readonly workerId: string
  readonly leaseId: string
  readonly dpopJkt: string
  readonly policy: EffectivePolicy
  readonly supersedes: string | undefined
}

export async function insertAttachment(tx: TransactionSql, attachment: NewAttachment): Promise<AttachmentRow> {
  const { session, supersedes } = attachment
  const [row] = await tx<AttachmentRow[]>`
    insert into rap.session_attachments as a (organization_id, session_id, ordinal, worker_id, lease_id, dpop_jkt,
      allowed_channels, limits, supersedes_attachment_id)
    values (${session.organization_id}, ${session.id}, ${attachment.ordinal}, ${attachment.workerId},
      ${attachment.leaseId}, ${attachment.dpopJkt}, ${attachment.policy.channels as string[]},
      ${tx.json(attachment.policy.limits)}, ${supersedes ?? null})
    returning ${attachmentColumns(tx)}`
  if (row === undefined) throw new Error('attachment was not made')
  return row
}

export async function updateSessionState(
  tx: TransactionSql,
  id: string,
  state: SessionState,
  { failure, endReason }: { failure?: Failure | undefined; endReason?: string | undefined } = {},
): Promise<SessionRow> {
  const ends = state === 'terminated' || state === 'failed'
  const [row] = await tx<SessionRow[]>`
    update rap.remote_sessions s set state = ${state},
      failure = ${failure === undefined ? tx`s.failure` : tx`${tx.json(failure as never)}`},
      end_reason = ${endReason ?? null},
      ended_at = ${ends ? tx`now()` : tx`null`}
    where s.id = ${id} returning ${sessionColumns(tx)}`
  if (row === undefined) throw new Error('session is gone')
  return row
}

export async function updateAttachmentState(
  tx: TransactionSql,
  id: string,
  state: AttachmentState,
  { failure, reason }: { failure?: Failure | undefined; reason?: string | undefined } = {},
): Promise<AttachmentRow> {
  const ends = !(LIVE_ATTACHMENT_STATES as readonly string[]).includes(state)
  const [row] = await tx<AttachmentRow[]>`
    update rap.session_attachments a set state = ${state},
      failure = ${failure === undefined ? tx`a.failure` : tx`${tx.json(failure as never)}`},
      close_reason = ${reason ?? null},
      ready_at = ${state === 'ready' ? tx`now()` : tx`a.ready_at`},
      closed_at = ${ends ? tx`now()` : tx`null`}
    where a.id = ${id} returning ${attachmentColumns(tx)}`
  if (row === undefined) throw new Error('attachment is gone')
  return row
}

/** Sets when a session ends by the policy, counted from its beginning. */
export async function updateSessionEnd(tx: TransactionSql, id: string, limits: SessionLimits): Promise<SessionRow> {
  const [row] = await tx<SessionRow[]>`
    update rap.remote_sessions s set ends_at = s.created_at + make_interval(secs => ${limits.session_seconds})
    where s.id = ${id} returning ${sessionColumns(tx)}`
  if (row === undefined) throw new Error('session is gone')
  return row
}

/** Marks an attachment as bound with more channels of the RDP stream; the first bind makes it active. */
export async function bindAttachment(tx: TransactionSql, id: string, channels: readonly Channel[]): Promise<void> {
  await tx`
    update rap.session_attachments set state = 'active', bound_at = coalesce(bound_at, now()),
      bound_channels = bound_channels || ${channels as string[]}::text[]
    where id = ${id}`
}
