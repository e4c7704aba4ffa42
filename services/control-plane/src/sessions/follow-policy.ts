import type { TransactionSql } from '@rap/service-kit'
import {
  type Channel,
  decidePolicy,
  type EffectivePolicy,
  effectivePolicy,
  LIMIT_NAMES,
  type LimitName,
  type SessionLimits,
} from '@rap/session-policy'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { type LayerRow, layersOf, type PolicyPlace, readAllLayers } from '../policies/storage.ts'
import { hintAttachments } from './coordination.ts'

/** What a change of policy did to sessions; their workers are told once it is committed. */
export interface FollowedSessions {
  readonly count: number
  /** Writes one event for each attachment that changed, as the last step of the transaction. */
  audit(tx: TransactionSql, caller: Caller): Promise<void>
  tellWorkers(ctx: Pick<Context, 'redis' | 'logger'>): Promise<void>
}

/** A live attachment as it is, with what it is about. */
interface LiveRow {
  readonly id: string
  readonly session_id: string
  readonly worker_id: string
  readonly allowed_channels: Channel[]
  readonly bound_channels: Channel[]
  readonly limits: SessionLimits
}

interface ScopedSession {
  readonly id: string
  readonly resource_id: string
  readonly user_id: string
}

/** A live attachment as it is from now on. */
interface Change {
  readonly before: LiveRow
  readonly session: ScopedSession
  readonly allowed: readonly Channel[]
  readonly limits: SessionLimits
  readonly limitsChanged: readonly LimitName[]
}

/**
 * Brings every session of a place in line with the policies as they are written now, in the transaction that wrote them.
 *
 * Channels of a live attachment are only ever taken away: what was given back counts from its next attachment on. Limits follow in both
 * directions, and so does the end of a session, a detached one included. The exclusive lock of the policies is held, so that no session begins
 * meanwhile; sessions are locked before attachments, both in the order of sessions.
 */
export async function followPolicy(tx: TransactionSql, place: PolicyPlace): Promise<FollowedSessions> {
  const sessions = await lockSessionsOf(tx, place)
  if (sessions.length === 0) return outcomeOf(place.organizationId, [], 0)
  const policies = await policiesOf(tx, place.organizationId, sessions)
  const moved = await moveEnds(tx, policies)
  const attachments = await lockLiveAttachments(tx, sessions)
  const changes = attachments.flatMap(before => changeOf(before, policies.get(before.session_id)) ?? [])
  await narrow(tx, changes)
  const touched = new Set([...moved, ...changes.map(({ before }) => before.session_id)])
  return outcomeOf(place.organizationId, changes, touched.size)
}

async function lockSessionsOf(
  tx: TransactionSql,
  { organizationId, resourceId, userId }: PolicyPlace,
): Promise<ScopedSession[]> {
  return await tx<ScopedSession[]>`
    select s.id, s.resource_id, s.user_id from rap.remote_sessions s
    where s.organization_id = ${organizationId} and s.state in ('assigning', 'ready', 'active', 'detached')
    ${resourceId === undefined ? tx`` : tx`and s.resource_id = ${resourceId}`}
    ${userId === undefined ? tx`` : tx`and s.user_id = ${userId}`}
    order by s.id for update`
}

async function lockLiveAttachments(tx: TransactionSql, sessions: readonly ScopedSession[]): Promise<LiveRow[]> {
  return await tx<LiveRow[]>`
    select a.id, a.session_id, a.worker_id, a.allowed_channels, a.bound_channels, a.limits
    from rap.session_attachments a
    where a.session_id = any(${sessions.map(({ id }) => id)}) and a.state in ('assigning', 'ready', 'active')
    order by a.session_id for no key update`
}

type Policies = ReadonlyMap<string, { readonly session: ScopedSession; readonly policy: EffectivePolicy }>

/** The policy in force for each session, by its id. */
async function policiesOf(
  tx: TransactionSql,
  organizationId: string,
  sessions: readonly ScopedSession[],
): Promise<Policies> {
  const resourceIds = [...new Set(sessions.map(session => session.resource_id))]
  const rows = new Map<string, LayerRow>()
  for (const row of await readAllLayers(tx, organizationId, resourceIds)) rows.set(keyOf(row), row)
  const policies = sessions.map(session => {
    const { resource_id, user_id } = session
    const keys = [keyOf({}), keyOf({ resource_id }), keyOf({ resource_id, user_id })]
    const layers = layersOf(keys.flatMap(key => rows.get(key) ?? []))
    return [session.id, { session, policy: effectivePolicy(decidePolicy(layers)) }] as const
  })
  return new Map(policies)
}

function keyOf(row: { resource_id?: string | null; user_id?: string | null }): string {
  return `${row.resource_id ?? ''}/${row.user_id ?? ''}`
}

/** Moves the ends of sessions; answers the ids of those whose end is another one now. */
async function moveEnds(tx: TransactionSql, policies: Policies): Promise<string[]> {
  const wanted = [...policies].map(([id, { policy }]) => ({ id, session_seconds: policy.limits.session_seconds }))
  const rows = await tx<{ id: string }[]>`
    update rap.remote_sessions s set ends_at = s.created_at + make_interval(secs => n.session_seconds)
    from jsonb_to_recordset(${tx.json(wanted)}) as n (id uuid, session_seconds integer)
    where s.id = n.id and s.ends_at is distinct from s.created_at + make_interval(secs => n.session_seconds)
    returning s.id`
  return rows.map(({ id }) => id)
}

function changeOf(
  before: LiveRow,
  given: { session: ScopedSession; policy: EffectivePolicy } | undefined,
): Change | undefined {
  if (given === undefined) return undefined
  const { session, policy } = given
  const allowed = before.allowed_channels.filter(channel => policy.channels.includes(channel))
  const limitsChanged = LIMIT_NAMES.filter(
    name => JSON.stringify(before.limits[name]) !== JSON.stringify(policy.limits[name]),
  )
  if (allowed.length === before.allowed_channels.length && limitsChanged.length === 0) return undefined
  return { before, session, allowed, limits: policy.limits, limitsChanged }
}

async function narrow(tx: TransactionSql, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return
  const rows = changes.map(({ before, allowed, limits }) => ({
    id: before.id,
    allowed,
    bound: before.bound_channels.filter(channel => allowed.includes(channel)),
    limits,
  }))
  await tx`
    update rap.session_attachments a set allowed_channels = n.allowed, bound_channels = n.bound, limits = n.limits
    from jsonb_to_recordset(${tx.json(rows as never)}) as n (id uuid, allowed text[], bound text[], limits jsonb)
    where a.id = n.id`
}

function outcomeOf(organizationId: string, changes: readonly Change[], count: number): FollowedSessions {
  return {
    count,
    audit: async (tx, caller) => {
      // Sent one after another without waiting for each answer: everybody else waits for the chain meanwhile.
      await Promise.all(changes.map(change => auditCaller(tx, caller, eventOf(organizationId, change))))
    },
    tellWorkers: ({ redis, logger }) =>
      hintAttachments(
        redis,
        logger,
        changes.map(({ before }) => before),
      ),
  }
}

function eventOf(organizationId: string, { before, session, allowed, limitsChanged }: Change) {
  return {
    organization_id: organizationId,
    event: 'session_policy_changed',
    session_id: before.session_id,
    attachment_id: before.id,
    resource_id: session.resource_id,
    user_id: session.user_id,
    worker_id: before.worker_id,
    details: {
      channels_removed: before.allowed_channels.filter(channel => !allowed.includes(channel)).join(','),
      channels: allowed.join(','),
      limits_changed: limitsChanged.join(','),
    },
  }
}
