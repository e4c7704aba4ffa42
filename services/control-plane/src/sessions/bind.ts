import { randomUUID } from 'node:crypto'
import type { PeerIdentity, TransactionSql } from '@rap/service-kit'
import { type Channel, isRdpChannel, type SessionLimits } from '@rap/session-policy'
import { channelsBeyond, type DataPlaneClaims, TokenError, verifyToken } from '@rap/token-claims'
import { auditWorker, type EventBy, eventOfWorker } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { roleIn } from '../organizations/access.ts'
import { can } from '../organizations/permissions.ts'
import { findWorker, type WorkerRow } from '../workers/storage.ts'
import { hasEnded, isLive } from './states.ts'
import {
  type AttachmentRow,
  bindAttachment,
  lockAttachment,
  lockSession,
  newestAttachment,
  type SessionRow,
  updateSessionState,
} from './storage.ts'

export interface BindRequest {
  readonly token: string
  readonly proofJti: string
  readonly runtimeTransport: string
  readonly requestedChannels: readonly string[]
  /** The client's address as the worker sees it. */
  readonly clientAddress: string
  readonly requestId: string
}

/** What the worker may let through from now on. */
export interface Bound {
  readonly session_id: string
  readonly attachment_id: string
  readonly user_id: string
  readonly organization_id: string
  readonly resource_id: string
  readonly allowed_channels: Channel[]
  readonly limits: SessionLimits
  /** When the policy ends the session (RFC 3339); null where nothing does. */
  readonly session_ends_at: string | null
  readonly session_seconds_left: number | null
  readonly bind_id: string
}

/** Every refusal of a bind; worker and audit are told which one it is. */
export type BindRefusal = Extract<keyof typeof problems, `ERR_BIND_${string}`>

/** A refusal, with what may be said about it in the audit. */
class RefusedBind extends Error {
  override readonly name = 'RefusedBind'
  readonly code: BindRefusal
  constructor(code: BindRefusal) {
    super('bind is refused')
    this.code = code
  }
}

/**
 * Authorises one bind of a worker's client: the last word of the source of truth.
 *
 * Everything is decided in one transaction with session and attachment locked, and the token's `jti` is written in it,
 * so that a token binds once, whatever restarts. Throws ProblemError with the precise ERR_BIND_* code; each refusal is
 * in the audit, by itself or counted. INVARIANT: no answer that says yes is sent before that transaction is committed.
 */
export async function authoriseBind(ctx: Context, peer: PeerIdentity, request: BindRequest): Promise<Bound> {
  let claims: DataPlaneClaims | undefined
  try {
    claims = await verified(ctx, request.token)
    const known = claims
    return await ctx.sql.begin(tx => bindInTransaction(ctx, tx, { peer, request, claims: known }))
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ERR_BIND_UNAVAILABLE') ctx.logger.error({ event: 'bind_failed', err: error }, 'bind failed')
    await auditRefusal(ctx, peer, { request, claims, code })
    throw problems[code](code === 'ERR_BIND_UNAVAILABLE' ? { cause: error } : {})
  }
}

async function verified(ctx: Context, token: string): Promise<DataPlaneClaims> {
  return await verifyToken('data_plane', token, {
    keys: ctx.signing.lookup,
    issuer: ctx.config.DATA_PLANE_ISSUER,
    nowSeconds: ctx.nowSeconds(),
  })
}

interface BindFacts {
  readonly claims: DataPlaneClaims
  readonly peer: PeerIdentity
  readonly worker: WorkerRow | undefined
  readonly session: SessionRow
  readonly attachment: AttachmentRow
  readonly newest: AttachmentRow | undefined
  readonly userMayUse: boolean
  readonly isReplay: boolean
  readonly requested: readonly string[]
}

/** The rules of a bind in their order; the first that does not hold is the refusal. */
const RULES: readonly (readonly [BindRefusal, (facts: BindFacts) => boolean])[] = [
  ['ERR_BIND_WRONG_WORKER', f => f.claims.worker_id === f.peer.id && f.worker?.state === 'active'],
  ['ERR_BIND_WRONG_ORGANIZATION', f => f.claims.organization_id === f.session.organization_id],
  ['ERR_BIND_WRONG_RESOURCE', f => f.claims.resource_id === f.session.resource_id],
  ['ERR_BIND_WRONG_USER', f => f.claims.sub === f.session.user_id && f.userMayUse],
  ['ERR_BIND_WRONG_WORKER', f => f.attachment.worker_id === f.peer.id],
  ['ERR_BIND_PROOF_INVALID', f => f.claims.cnf.jkt === f.attachment.dpop_jkt],
  ['ERR_BIND_TOKEN_REPLAYED', f => !f.isReplay],
  ['ERR_BIND_SESSION_ENDED', f => !hasEnded(f.session.state) && !f.session.is_over],
  ['ERR_BIND_ATTACHMENT_SUPERSEDED', f => f.attachment.state !== 'superseded' && f.newest?.id === f.attachment.id],
  ['ERR_BIND_SESSION_ENDED', f => isLive(f.attachment.state)],
  // The worker has not reported the target as ready, so there is nothing to bind to yet.
  ['ERR_BIND_UNAVAILABLE', f => f.attachment.state !== 'assigning'],
  // A token from before a policy was narrowed binds nothing, also not what is still allowed.
  ['ERR_BIND_CHANNELS_NOT_ALLOWED', f => channelsBeyond(f.attachment, f.claims.allowed_channels).length === 0],
  ['ERR_BIND_CHANNELS_NOT_ALLOWED', f => channelsBeyond(f.claims, f.requested).length === 0],
  // A channel inside the RDP stream is carried by one connection of an attachment; one beside it goes to the newest.
  [
    'ERR_BIND_CHANNELS_NOT_ALLOWED',
    f => channelsBeyond({ allowed_channels: f.attachment.bound_channels }, f.requested).length === f.requested.length,
  ],
]

async function bindInTransaction(
  ctx: Context,
  tx: TransactionSql,
  { peer, request, claims }: { peer: PeerIdentity; request: BindRequest; claims: DataPlaneClaims },
): Promise<Bound> {
  const session = await lockSession(tx, claims.session_id)
  const attachment = await lockAttachment(tx, claims.attachment_id)
  // Signed by us, and yet about nothing that is there: not a token of this database.
  if (session === undefined || attachment?.session_id !== session.id) throw new RefusedBind('ERR_BIND_TOKEN_INVALID')
  const role = await roleIn(tx, session.user_id, session.organization_id)
  const [used] = await tx`select 1 from rap.data_plane_token_jtis where jti = ${claims.jti}`
  const facts: BindFacts = {
    claims,
    peer,
    worker: await findWorker(tx, peer.id),
    session,
    attachment,
    newest: await newestAttachment(tx, session.id),
    userMayUse: role !== undefined && can(role, 'sessions.use'),
    isReplay: used !== undefined,
    requested: request.requestedChannels,
  }
  const broken = RULES.find(([, holds]) => !holds(facts))
  if (broken !== undefined) throw new RefusedBind(broken[0])

  const [spent] = await tx`
    insert into rap.data_plane_token_jtis (jti, attachment_id, proof_jti, exp)
    values (${claims.jti}, ${attachment.id}, ${request.proofJti}, to_timestamp(${claims.exp}))
    on conflict on constraint data_plane_token_jtis_pkey do nothing returning jti`
  if (spent === undefined) throw new RefusedBind('ERR_BIND_TOKEN_REPLAYED')
  const channels = attachment.allowed_channels.filter(channel => request.requestedChannels.includes(channel))
  const ofDesktop = channels.filter(isRdpChannel)
  // What is beside the RDP stream does not make a desktop one that somebody has come to.
  if (ofDesktop.length > 0) {
    await bindAttachment(tx, attachment.id, ofDesktop)
    if (session.state !== 'active') await updateSessionState(tx, session.id, 'active')
  }
  const bindId = randomUUID()
  await auditWorker(tx, peer.id, {
    ...placeOf(claims),
    event: 'data_plane_bound',
    request_id: request.requestId,
    details: {
      bind_id: bindId,
      runtime_transport: request.runtimeTransport,
      channels: channels.join(','),
      client_address: request.clientAddress,
    },
  })
  ctx.logger.info({ event: 'data_plane_bound', attachment_id: attachment.id, worker_id: peer.id }, 'data plane bound')
  return {
    session_id: session.id,
    attachment_id: attachment.id,
    user_id: session.user_id,
    organization_id: session.organization_id,
    resource_id: session.resource_id,
    allowed_channels: channels,
    limits: attachment.limits,
    session_ends_at: session.ends_at?.toISOString() ?? null,
    session_seconds_left: session.seconds_left,
    bind_id: bindId,
  }
}

function codeOf(error: unknown): BindRefusal {
  if (error instanceof RefusedBind) return error.code
  if (error instanceof TokenError) {
    return error.code === 'ERR_TOKEN_EXPIRED' ? 'ERR_BIND_TOKEN_EXPIRED' : 'ERR_BIND_TOKEN_INVALID'
  }
  return 'ERR_BIND_UNAVAILABLE'
}

/** Never rejects: where even the audit cannot be written, the bind is refused all the same, and counted until it can. */
async function auditRefusal(
  ctx: Context,
  peer: PeerIdentity,
  { request, claims, code }: { request: BindRequest; claims: DataPlaneClaims | undefined; code: BindRefusal },
): Promise<void> {
  const event = eventOfWorker(peer.id, {
    // Only what a verified token says is believed; anything else goes to the platform's own chain.
    ...(claims === undefined ? { organization_id: null } : await existingPlace(ctx, claims)),
    event: 'data_plane_bind_refused',
    outcome: 'refused',
    code,
    request_id: request.requestId,
    details: { runtime_transport: request.runtimeTransport, client_address: request.clientAddress },
  })
  await ctx.refusals.report(event, claims === undefined ? 'stranger' : 'holder')
}

/** The organization of a chain must exist; a token that we signed for another database names one that does not. */
async function existingPlace(ctx: Context, claims: DataPlaneClaims): Promise<Omit<EventBy, 'event'>> {
  const place = placeOf(claims)
  try {
    const [row] = await ctx.sql`select 1 from rap.organizations where id = ${claims.organization_id}`
    return row === undefined ? { ...place, organization_id: null } : place
  } catch {
    // Nothing can be written now; the refusal is counted for the chain of the platform, which is there in any case.
    return { ...place, organization_id: null }
  }
}

function placeOf(claims: DataPlaneClaims) {
  return {
    organization_id: claims.organization_id,
    session_id: claims.session_id,
    attachment_id: claims.attachment_id,
    resource_id: claims.resource_id,
    user_id: claims.sub,
  }
}
