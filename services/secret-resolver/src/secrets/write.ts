import { type AuditEvent, appendAuditEvent } from '@rap/service-kit'
import type { Sql } from 'postgres'
import { problems } from '../errors.ts'
import { openSealedSecret } from '../sealing/sealed-secret.ts'
import { privateKeyOf } from '../sealing/store.ts'
import { type Envelope, type RandomSource, sealEnvelope } from './envelope.ts'
import type { KeyWrapPort } from './key-wrap.ts'
import { canonicalPayload } from './payload.ts'
import { secretRefOf } from './secret-ref.ts'
import { eraseVersion, insertVersion, type SecretMetadata, selectNewest, selectResource } from './store.ts'

/** Which secret, and on whose behalf the control plane asks. */
export interface SecretOrder {
  readonly organizationId: string
  readonly resourceId: string
  readonly actorUserId: string
  readonly requestId: string
  /** The version in force that the caller has seen, 0 for none; absent where the caller does not care which. */
  readonly expectedVersion?: number | undefined
}

export interface WriteDeps {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  readonly now: () => Date
  readonly random?: RandomSource
}

/**
 * Stores a sealed secret as the next version, and erases the version before it.
 *
 * Throws SealError, PayloadError, ProblemError ERR_RESOURCE_NOT_FOUND, ERR_SECRET_VERSION_CONFLICT. Two writers that
 * saw the same version never both succeed. INVARIANT: row, erasure and audit event are one transaction; the plaintext
 * is zero when this returns or throws.
 */
export async function writeSecret(sealed: string, order: SecretOrder, deps: WriteDeps): Promise<SecretMetadata> {
  const { sql } = deps
  const { organizationId, resourceId } = order
  const secretRef = secretRefOf(organizationId, resourceId)
  const [resource] = await selectResource(sql, organizationId, resourceId)
  if (resource === undefined) throw problems.ERR_RESOURCE_NOT_FOUND()
  const plaintext = await openSealedSecret(sealed, {
    organizationId,
    resourceId,
    privateKeyOf: kid => privateKeyOf(kid, deps),
  })
  let version: number
  let live: number
  let envelope: Envelope
  try {
    // Read without a lock, so that no transaction is open while the key provider is asked; the insert tells who was first.
    const [newest] = await selectNewest(sql, secretRef)
    live = newest?.is_live === true ? newest.version : 0
    refuseUnexpected(order, live)
    version = (newest?.version ?? 0) + 1
    envelope = await sealPayload(plaintext, { organizationId, resourceId, secretRef, version }, deps)
  } finally {
    plaintext.fill(0)
  }
  return await sql.begin(async tx => {
    if (live > 0) {
      const [erased] = await eraseVersion(tx, secretRef, live)
      if (erased === undefined) throw problems.ERR_SECRET_VERSION_CONFLICT()
    }
    const [stored] = await insertVersion(tx, {
      secretRef,
      organizationId,
      resourceId,
      version,
      envelope,
      createdBy: order.actorUserId,
    })
    if (stored === undefined) throw problems.ERR_SECRET_VERSION_CONFLICT()
    await appendAuditEvent(tx, {
      ...auditOf('resource_secret_rotated', order),
      details: { version, previous_version: live, key_id: envelope.keyId },
    })
    return stored
  })
}

async function sealPayload(
  plaintext: Uint8Array,
  place: Parameters<typeof sealEnvelope>[1],
  deps: WriteDeps,
): Promise<Envelope> {
  const canonical = canonicalPayload(plaintext, place.version)
  try {
    return await sealEnvelope(canonical, place, deps)
  } finally {
    canonical.fill(0)
  }
}

/**
 * Crypto-erases the version in force and leaves its tombstone.
 * Throws ProblemError ERR_SECRET_NOT_FOUND, ERR_SECRET_VERSION_CONFLICT. INVARIANT: one transaction with the audit.
 */
export async function deleteSecret(
  order: SecretOrder,
  deps: Pick<WriteDeps, 'sql'>,
): Promise<{ secret_ref: string; version: number; destroyed_at: Date }> {
  const secretRef = secretRefOf(order.organizationId, order.resourceId)
  return await deps.sql.begin(async tx => {
    const [newest] = await selectNewest(tx, secretRef)
    if (newest?.is_live !== true) throw problems.ERR_SECRET_NOT_FOUND()
    refuseUnexpected(order, newest.version)
    const [erased] = await eraseVersion(tx, secretRef, newest.version)
    if (erased === undefined) throw problems.ERR_SECRET_VERSION_CONFLICT()
    await appendAuditEvent(tx, {
      ...auditOf('resource_secret_deleted', order),
      details: { version: erased.version },
    })
    return { secret_ref: secretRef, ...erased }
  })
}

function refuseUnexpected({ expectedVersion }: SecretOrder, live: number): void {
  if (expectedVersion === undefined || expectedVersion === live) return
  throw problems.ERR_SECRET_VERSION_CONFLICT({ extras: { current_version: live } })
}

/** The part of an audit event that every change of a secret has. */
function auditOf(event: string, order: SecretOrder): AuditEvent {
  return {
    organization_id: order.organizationId,
    event,
    actor: { kind: 'user', id: order.actorUserId },
    user_id: order.actorUserId,
    resource_id: order.resourceId,
    secret_ref: secretRefOf(order.organizationId, order.resourceId),
    outcome: 'ok',
    request_id: order.requestId,
  }
}
