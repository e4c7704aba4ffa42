import { appendAuditEvent, type PeerIdentity, ProblemError, type Sql, type TransactionSql } from '@rap/service-kit'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { isCertificateRevoked } from '../revocation/register.ts'
import type { Enrolled } from './enrol.ts'
import { csrOf, issueCertificateFor } from './issue.ts'
import { findCertificate, findIdentity, type IdentityRow, lockIdentity, markReplaced } from './register.ts'
import { findActiveAuthority, newestBundle } from './store.ts'

export interface IdentityStatus {
  readonly kind: string
  readonly id: string
  readonly state: string
  readonly trust_bundle_version: number
  readonly renew_now: boolean
  readonly serial: string | null
}

/**
 * What the holder of a certificate asks each minute. Throws ProblemError ERR_IDENTITY_UNKNOWN, ERR_WORKER_REVOKED,
 * ERR_IDENTITY_REVOKED.
 */
export async function identityStatus(ctx: Context, peer: PeerIdentity): Promise<IdentityStatus> {
  const identity = activeIdentity(await findIdentity(ctx.sql, peer.kind, peer.id), peer)
  const [certificate, active, bundle] = await Promise.all([
    findCertificate(ctx.sql, peer.thumbprint),
    findActiveAuthority(ctx.sql),
    newestBundle(ctx.sql),
  ])
  return {
    kind: identity.kind,
    id: identity.id,
    state: identity.state,
    trust_bundle_version: bundle?.version ?? 0,
    // One that another CA or another generation issued is to be replaced at once, whatever its age.
    renew_now: active !== undefined && certificate?.generation !== active.generation,
    serial: certificate?.serial ?? null,
  }
}

interface Renewal {
  readonly csr: string
  readonly requestId: string
}

/**
 * Gives the holder of a certificate the next one. Throws ProblemError as `identityStatus` does, ERR_CSR_INVALID,
 * ERR_CSR_NAMES, ERR_PLATFORM_CA_UNMANAGED. INVARIANT: identity and names are the register's.
 */
export async function renewCertificate(ctx: Context, peer: PeerIdentity, renewal: Renewal): Promise<Enrolled> {
  try {
    return await renew(ctx, peer, renewal)
  } catch (error) {
    // A holder that asks for more than its own is a mistake that somebody wants to know of, or an attack.
    if (error instanceof ProblemError && error.code.startsWith('ERR_CSR_')) {
      await ctx.refusals.report(
        {
          organization_id: null,
          event: 'identity_renewal_refused',
          actor: { kind: peer.kind, id: peer.id },
          ...(peer.kind === 'worker' && { worker_id: peer.id }),
          outcome: 'refused',
          code: error.code,
          request_id: renewal.requestId,
          details: { thumbprint: peer.thumbprint },
        },
        'holder',
      )
    }
    throw error
  }
}

async function renew(ctx: Context, peer: PeerIdentity, { csr: csrPem, requestId }: Renewal): Promise<Enrolled> {
  const csr = await csrOf(csrPem)
  return await ctx.sql.begin(async tx => {
    const identity = activeIdentity(await lockIdentity(tx, peer.kind, peer.id), peer)
    // Also in the second before every instance knows of it: the thief would have a certificate that nobody has revoked.
    if (await isCertificateRevoked(tx, peer.thumbprint)) throw problems.ERR_CERTIFICATE_REVOKED()
    const issued = await issueCertificateFor(tx, ctx.platformCa.issuing, { identity, csr, reason: 'renewal' })
    const isFirst = await markReplaced(tx, peer.thumbprint)
    const bundle = await newestBundle(tx)
    if (bundle === undefined) throw problems.ERR_PLATFORM_CA_UNMANAGED()
    await appendAuditEvent(tx, {
      organization_id: null,
      event: 'identity_certificate_renewed',
      actor: { kind: peer.kind, id: peer.id },
      outcome: 'ok',
      request_id: requestId,
      ...(peer.kind === 'worker' && { worker_id: peer.id }),
      details: {
        serial: issued.serial,
        thumbprint: issued.thumbprint,
        previous_thumbprint: peer.thumbprint,
        // A copy of the key that renews beside its owner shows itself here.
        replaced_before: !isFirst,
      },
    })
    return { ...issued, identity, trustBundle: bundle.signed }
  })
}

function activeIdentity(identity: IdentityRow | undefined, peer: PeerIdentity): IdentityRow {
  if (identity === undefined) throw problems.ERR_IDENTITY_UNKNOWN()
  if (identity.state === 'active') return identity
  throw peer.kind === 'worker' ? problems.ERR_WORKER_REVOKED() : problems.ERR_IDENTITY_REVOKED()
}

/** The registered worker behind a certificate; undefined where the CA is not managed here and nobody is registered. */
export async function registeredWorker(db: Sql | TransactionSql, id: string): Promise<IdentityRow | undefined> {
  const identity = await findIdentity(db, 'worker', id)
  if (identity === undefined && (await findActiveAuthority(db)) !== undefined) throw problems.ERR_WORKER_UNKNOWN()
  return identity
}
