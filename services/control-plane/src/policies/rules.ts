import { commonProblems, type Sql, type TransactionSql } from '@rap/service-kit'
import { CHANNELS, decidePolicy, LIMIT_NAMES, type PolicyDecision, type PolicyDocument } from '@rap/session-policy'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { Turns } from '../http/turns.ts'
import { requirePermission } from '../organizations/access.ts'
import type { Permission } from '../organizations/permissions.ts'
import { findMember } from '../organizations/storage.ts'
import { requireResource } from '../resources/access.ts'
import { type FollowedSessions, followPolicy } from '../sessions/follow-policy.ts'
import {
  findPolicy,
  lockPolicies,
  type PolicyPlace,
  type PolicyRow,
  putPolicy,
  readLayers,
  scopeOf,
} from './storage.ts'

/**
 * Changes at once. Those of one organization wait for one another, each with a database connection, so a flood of them
 * must not hold all of those.
 */
const turns = new Turns({ maxRunning: 4, maxWaiting: 64, refuse: commonProblems.ERR_RATE_LIMITED })

/** Where a caller wants to read or write a policy; a resource knows its organization. */
export type NamedPlace =
  | { readonly organizationId: string; readonly resourceId?: undefined; readonly userId?: undefined }
  | { readonly organizationId?: undefined; readonly resourceId: string; readonly userId?: string | undefined }

/** A policy with its place; a row that is not there, or is deleted, stands for the empty policy of version 0. */
export interface PlacedPolicy {
  readonly place: PolicyPlace
  readonly row: PolicyRow | undefined
}

export interface PolicyChange {
  /** Null deletes it. */
  readonly document: PolicyDocument | null
  /** The version that the caller has seen; a change of another one is refused. */
  readonly version?: number | undefined
}

/** Throws ProblemError ERR_NOT_FOUND, ERR_FORBIDDEN. */
export async function readPolicy(ctx: Context, caller: Caller, named: NamedPlace): Promise<PlacedPolicy> {
  const place = await placeFor(ctx.sql, caller, { named, permission: 'policies.read' })
  return { place, row: livingRow(await findPolicy(ctx.sql, place)) }
}

/**
 * Writes or deletes a policy, and narrows the sessions that are live in the same transaction.
 *
 * Throws ProblemError ERR_NOT_FOUND, also for a grant of somebody who is no member, ERR_FORBIDDEN, ERR_POLICY_CHANGED where somebody else
 * was first, and ERR_RATE_LIMITED where too many wait. INVARIANT: once this returns, no session goes on, binds or begins under the policy from before.
 */
export async function changePolicy(
  ctx: Context,
  caller: Caller,
  { named, change }: { named: NamedPlace; change: PolicyChange },
): Promise<PlacedPolicy & { sessionsChanged: number }> {
  const done = await turns
    .take(async () => await ctx.sql.begin(tx => changeInTransaction(tx, caller, { named, change })))
    .catch(refusingLeavers)
  await done.followed?.tellWorkers(ctx)
  return { place: done.place, row: done.row, sessionsChanged: done.followed?.count ?? 0 }
}

async function changeInTransaction(
  tx: TransactionSql,
  caller: Caller,
  { named, change: { document, version: seen } }: { named: NamedPlace; change: PolicyChange },
): Promise<PlacedPolicy & { followed: FollowedSessions | undefined }> {
  const place = await placeFor(tx, caller, { named, permission: 'policies.manage', lock: true })
  await lockPolicies(tx, place.organizationId, 'exclusive')
  const before = livingRow(await findPolicy(tx, place))
  const version = before?.version ?? 0
  if (seen !== undefined && seen !== version)
    throw problems.ERR_POLICY_CHANGED({ extras: { current_version: version } })
  if (document === null && before === undefined) return { place, row: undefined, followed: undefined }
  const row = await putPolicy(tx, place, { document, by: caller.id })
  const followed = await followPolicy(tx, place)
  await auditChange(tx, caller, { place, before: before?.document, after: document, sessions: followed.count })
  await followed.audit(tx, caller)
  return { place, row: livingRow(row), followed }
}

/** What a user may do on a resource, and who decided it. Throws ProblemError ERR_NOT_FOUND, ERR_FORBIDDEN. */
export async function explainPolicy(
  ctx: Context,
  caller: Caller,
  { resourceId, userId }: { resourceId: string; userId: string },
): Promise<PolicyDecision> {
  const permission = userId === caller.id ? 'resources.read' : 'policies.read'
  const resource = await requireResource(ctx.sql, caller, { id: resourceId, permission })
  const organizationId = resource.organization_id
  if (userId !== caller.id) await requireMember(ctx.sql, organizationId, userId)
  return decidePolicy(await readLayers(ctx.sql, { organizationId, resourceId, userId }))
}

/** The document with its channels in the order of the table. Throws ProblemError ERR_VALIDATION, which names an unknown channel. */
export function checkDocument({
  channels,
  limits,
}: {
  channels?: readonly string[]
  limits?: PolicyDocument['limits']
}): PolicyDocument {
  const unknown = channels?.find(name => !(CHANNELS as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw commonProblems.ERR_VALIDATION({
      detail: `There is no channel "${unknown}"; the channels are ${CHANNELS.join(', ')}`,
    })
  }
  return {
    ...(channels !== undefined && { channels: CHANNELS.filter(name => channels.includes(name)) }),
    ...(limits !== undefined && { limits }),
  }
}

async function placeFor(
  db: Sql | TransactionSql,
  caller: Caller,
  { named, permission, lock }: { named: NamedPlace; permission: Permission; lock?: true },
): Promise<PolicyPlace> {
  if (named.organizationId !== undefined) {
    await requirePermission(db, caller, { organizationId: named.organizationId, permission })
    return { organizationId: named.organizationId }
  }
  const { resourceId, userId } = named
  // Locked, so that it is not deleted while something is written for it.
  const resource = await requireResource(db, caller, { id: resourceId, permission, lock: lock ? 'share' : 'none' })
  const organizationId = resource.organization_id
  if (userId !== undefined) await requireMember(db, organizationId, userId)
  return { organizationId, resourceId, userId }
}

async function requireMember(db: Sql | TransactionSql, organizationId: string, userId: string): Promise<void> {
  if ((await findMember(db, organizationId, userId)) === undefined) throw commonProblems.ERR_NOT_FOUND()
}

/** The database has the last word on who is a member: somebody may leave between the look and the write. */
function refusingLeavers(error: unknown): never {
  const { constraint_name: constraint } = error as { constraint_name?: string }
  throw constraint === 'policies_member_fkey' ? commonProblems.ERR_NOT_FOUND({ cause: error }) : error
}

function livingRow(row: PolicyRow | undefined): PolicyRow | undefined {
  return row?.document == null ? undefined : row
}

async function auditChange(
  tx: TransactionSql,
  caller: Caller,
  given: {
    place: PolicyPlace
    before: PolicyDocument | null | undefined
    after: PolicyDocument | null
    sessions: number
  },
): Promise<void> {
  const { place, before, after, sessions } = given
  await auditCaller(tx, caller, {
    organization_id: place.organizationId,
    event: 'policy_changed',
    resource_id: place.resourceId,
    ...(place.userId !== undefined && { user_id: place.userId }),
    details: {
      scope: scopeOf(place),
      ...(place.userId !== undefined && { user_id: place.userId }),
      deleted: after === null,
      // Null: this scope says nothing about channels, or about limits.
      channels_before: before?.channels?.join(',') ?? null,
      channels_after: after?.channels?.join(',') ?? null,
      ...inParts('limits_before', limitsText(before)),
      ...inParts('limits', limitsText(after)),
      sessions_changed: sessions,
    },
  })
}

function limitsText(document: PolicyDocument | null | undefined): string | null {
  // In one order, so that two of them can be compared.
  return document?.limits === undefined ? null : JSON.stringify(document.limits, [...LIMIT_NAMES])
}

/** Longest detail that the audit keeps whole, in characters: a list of extensions is longer, and its end must not go unseen. */
const PART_CHARACTERS = 512

/** A text as details `name`, `name_2`, `name_3` …, as many as it takes. */
function inParts(name: string, text: string | null): Record<string, string | null> {
  const parts = text?.match(new RegExp(`.{1,${PART_CHARACTERS}}`, 'gs')) ?? [null]
  return Object.fromEntries(parts.map((part, index) => [index === 0 ? name : `${name}_${index + 1}`, part]))
}
