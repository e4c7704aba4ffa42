import { randomUUID } from 'node:crypto'
import { buildCandidates, type Candidate } from '@rap/candidate-metadata'
import { type ClaimsOf, PURPOSES, signToken, type UnsignedClaims } from '@rap/token-claims'
import type { Context } from '../context.ts'
import type { WorkerRow } from '../workers/storage.ts'
import type { AttachmentRow, SessionRow } from './storage.ts'

type Ctx = Pick<Context, 'signing' | 'config' | 'nowSeconds' | 'platformCa'>
type Purpose = keyof typeof PURPOSES

/** What a client gets to reach its attachment. */
export interface DataPlane {
  readonly token: string
  readonly expires_at: string
  readonly candidates: Candidate[]
}

/** One order to a worker, before it is signed. */
export interface Assignment {
  readonly session: SessionRow
  readonly attachment: AttachmentRow
  readonly worker: WorkerRow
  readonly secretRef: string | null
  readonly target: ClaimsOf<'assignment'>['target']
  readonly display: { readonly width: number; readonly height: number } | undefined
}

/** The ids that every token of an attachment carries. */
function placeOf(session: SessionRow, attachment: AttachmentRow) {
  return {
    organization_id: session.organization_id,
    resource_id: session.resource_id,
    worker_id: attachment.worker_id,
    session_id: session.id,
    attachment_id: attachment.id,
  }
}

async function sign<P extends Purpose>(ctx: Ctx, purpose: P, claims: UnsignedClaims<P>) {
  const nowSeconds = ctx.nowSeconds()
  const lifetimeSeconds = PURPOSES[purpose].maxLifetimeSeconds
  const token = await signToken(purpose, claims, {
    key: await ctx.signing.active(),
    issuer: ctx.config.DATA_PLANE_ISSUER,
    jti: randomUUID(),
    nowSeconds,
    lifetimeSeconds,
  })
  return { token, expiresAt: new Date((nowSeconds + lifetimeSeconds) * 1000).toISOString() }
}

/**
 * The signed order to one worker, with the lease token inside. The lease token opens nothing without the private key of
 * the certificate that the worker announced itself with (RFC 8705).
 */
export async function signAssignment(ctx: Ctx, order: Assignment): Promise<string> {
  const { session, attachment, worker, secretRef, display } = order
  const place = placeOf(session, attachment)
  const lease = await sign(ctx, 'lease', {
    ...place,
    lease_id: attachment.lease_id,
    secret_ref: secretRef,
    cnf: { 'x5t#S256': worker.certificate_thumbprint },
  })
  const assignment = await sign(ctx, 'assignment', {
    ...place,
    assignment_id: randomUUID(),
    user_id: session.user_id,
    lease_id: attachment.lease_id,
    lease_token: lease.token,
    secret_ref: secretRef,
    allowed_channels: attachment.allowed_channels,
    limits: attachment.limits,
    bind_urls: bindUrls(ctx, worker),
    target: order.target,
    ...(display === undefined ? {} : { display }),
    ...(attachment.supersedes_attachment_id === null
      ? {}
      : { supersedes_attachment_id: attachment.supersedes_attachment_id }),
  })
  return assignment.token
}

/** A fresh token for one bind, and the ways to the worker. */
export async function mintDataPlane(
  ctx: Ctx,
  { session, attachment, worker }: { session: SessionRow; attachment: AttachmentRow; worker: WorkerRow },
): Promise<DataPlane> {
  const { config } = ctx
  const { token, expiresAt } = await sign(ctx, 'data_plane', {
    ...placeOf(session, attachment),
    sub: session.user_id,
    allowed_channels: attachment.allowed_channels,
    cnf: { jkt: attachment.dpop_jkt },
  })
  const candidates = buildCandidates({
    appEnv: config.APP_ENV,
    trustMode: config.DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE,
    caRef: await caRefOf(ctx),
    // INVARIANT: the URL is the one that was announced over mutual TLS; Redis has no say in it.
    worker: { url: worker.public_url, trafficReady: true },
    gatewayUrl: config.DATA_PLANE_GATEWAY_URL,
  })
  return { token, expires_at: expiresAt, candidates }
}

/** A worker of a public authority has no bundle unless somebody names one. */
async function caRefOf({ config, platformCa }: Ctx): Promise<string | undefined> {
  if (config.DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE !== 'platform_ca')
    return config.DATA_PLANE_DIRECT_WORKER_TLS_CA_REF
  return await platformCa.candidateRef()
}

/** The URLs that a proof may name: the worker's own and the gateway's. */
function bindUrls(ctx: Ctx, worker: WorkerRow): string[] {
  const gateway = ctx.config.DATA_PLANE_GATEWAY_URL
  return gateway === undefined ? [worker.public_url] : [worker.public_url, gateway]
}
