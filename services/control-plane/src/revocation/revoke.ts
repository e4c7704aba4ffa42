import { commonProblems } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { type EndedSessions, failSessionsOfWorker } from '../sessions/end-sessions.ts'
import {
  announcesWith,
  deleteOpenJoinTokens,
  findCertificateBySerial,
  findRevoked,
  lockOpenJoinTokens,
  markCertificateRevoked,
  markCertificatesRevoked,
  markIdentityRevoked,
  markWorkerRevoked,
  type RevokedCertificate,
  type RevokedIdentity,
} from './register.ts'

/** What a revocation has done besides; all zero where it had been done before. */
export interface Consequences {
  readonly sessions_failed: number
  readonly join_tokens_deleted: number
}

const CONTROL_PLANE = 'control-plane'
const NOTHING: Consequences = { sessions_failed: 0, join_tokens_deleted: 0 }

/**
 * Revokes a worker for good: its announcement and its registration, its open join tokens, and its sessions, which have failed
 * with ERR_WORKER_REVOKED, in one transaction with the audit. Done again it changes nothing.
 * Throws ProblemError ERR_NOT_FOUND for a worker that is neither announced nor registered.
 */
export async function revokeWorker(ctx: Context, caller: Caller, id: string): Promise<RevokedIdentity & Consequences> {
  const revoked = await ctx.sql.begin(async tx => {
    await lockOpenJoinTokens(tx, 'worker', id)
    const identity = await markIdentityRevoked(tx, { kind: 'worker', id, userId: caller.id })
    const worker = await markWorkerRevoked(tx, id, caller.id)
    const found = worker ?? identity
    if (found === undefined) return undefined
    const join_tokens_deleted = await deleteOpenJoinTokens(tx, 'worker', id)
    const ended = await failSessionsOfWorker(tx, id)
    const consequences = { sessions_failed: ended.count, join_tokens_deleted }
    await auditCaller(tx, caller, {
      organization_id: null,
      event: 'worker_revoked',
      worker_id: id,
      details: { name: found.name, ...consequences },
    })
    return { found, consequences, ended }
  })
  await spread(ctx, revoked?.ended)
  return revoked === undefined
    ? { ...(await foundOrThrow(ctx, 'worker', id)), ...NOTHING }
    : { ...revoked.found, ...revoked.consequences }
}

/**
 * Revokes the identity of a service until an owner registers it again, and what it holds for good: a stolen certificate does
 * not come back with the name. Throws ProblemError ERR_NOT_FOUND for one that is not registered, and ERR_CONFLICT for the
 * control plane itself, which nobody could bring back.
 */
export async function revokeService(ctx: Context, caller: Caller, id: string): Promise<RevokedIdentity & Consequences> {
  if (id === CONTROL_PLANE) {
    throw commonProblems.ERR_CONFLICT({ detail: 'The control plane cannot revoke itself; revoke the certificate.' })
  }
  const revoked = await ctx.sql.begin(async tx => {
    await lockOpenJoinTokens(tx, 'service', id)
    const identity = await markIdentityRevoked(tx, { kind: 'service', id, userId: caller.id })
    if (identity === undefined) return undefined
    const consequences = { ...NOTHING, join_tokens_deleted: await deleteOpenJoinTokens(tx, 'service', id) }
    await auditCaller(tx, caller, {
      organization_id: null,
      event: 'service_revoked',
      details: {
        identity: `service/${id}`,
        certificates: await markCertificatesRevoked(tx, 'service', id),
        ...consequences,
      },
    })
    return { ...identity, ...consequences }
  })
  await spread(ctx, undefined)
  return revoked ?? { ...(await foundOrThrow(ctx, 'service', id)), ...NOTHING }
}

/**
 * Takes back one certificate; its owner keeps the identity, and needs another certificate or a new join token. Sessions of a
 * worker that announced itself with it have failed. Throws ProblemError ERR_NOT_FOUND for a serial that was not issued here.
 */
export async function revokeCertificate(
  ctx: Context,
  caller: Caller,
  serial: string,
): Promise<RevokedCertificate & Consequences> {
  const revoked = await ctx.sql.begin(async tx => {
    const seen = await findCertificateBySerial(tx, serial)
    if (seen === undefined) throw commonProblems.ERR_NOT_FOUND()
    const { kind, identity_id: id } = seen
    // A renewal locks the identity too, so that it either ends before this or sees it.
    await tx`select 1 from rap.identities where kind = ${kind} and id = ${id} for update`
    const certificate = await markCertificateRevoked(tx, serial)
    if (certificate === undefined) return undefined
    const isWorker = kind === 'worker'
    const isInUse = isWorker && (await announcesWith(tx, id, certificate.thumbprint))
    const ended = isInUse ? await failSessionsOfWorker(tx, id) : undefined
    const consequences = { ...NOTHING, sessions_failed: ended?.count ?? 0 }
    await auditCaller(tx, caller, {
      organization_id: null,
      event: 'certificate_revoked',
      ...(isWorker && { worker_id: id }),
      details: { identity: `${kind}/${id}`, serial, thumbprint: certificate.thumbprint, ...consequences },
    })
    return { certificate, consequences, ended }
  })
  await spread(ctx, revoked?.ended)
  if (revoked !== undefined) return { ...revoked.certificate, ...revoked.consequences }
  const found = await findCertificateBySerial(ctx.sql, serial)
  if (found?.revoked_at == null) throw commonProblems.ERR_NOT_FOUND()
  return { ...found, revoked_at: found.revoked_at, ...NOTHING }
}

/** This instance refuses at once; the others read the register each second. Then the worker is told. */
async function spread(ctx: Context, ended: EndedSessions | undefined): Promise<void> {
  await ctx.revocations.refresh()
  await ended?.tellWorkers(ctx)
}

async function foundOrThrow(ctx: Context, kind: 'worker' | 'service', id: string): Promise<RevokedIdentity> {
  const found = await findRevoked(ctx.sql, kind, id)
  if (found === undefined) throw commonProblems.ERR_NOT_FOUND()
  return found
}
