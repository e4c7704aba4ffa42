import { type AuditEvent, appendAuditEvent } from '@rap/service-kit'
import type { Sql } from 'postgres'
import type { Db } from '../database.ts'
import { problems } from '../errors.ts'
import { activeKeyId, holdActiveKey } from '../master-keys/store.ts'
import { openSealedSecret } from '../sealing/sealed-secret.ts'
import { privateKeyOf } from '../sealing/store.ts'
import { EnvelopeError, sealEnvelope } from './envelope.ts'
import type { KeyWrapPort } from './key-wrap.ts'
import { canonicalPayload } from './payload.ts'
import { withRotationVersion } from './payload-version.ts'
import { secretRefOf } from './secret-ref.ts'
import {
  destroyAll,
  destroyBeyond,
  insertVersion,
  type SecretMetadata,
  selectNewest,
  selectResource,
  selectSuperseded,
  supersedeVersion,
} from './store.ts'
import { openStored } from './stored.ts'

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
  /** How long a version that a newer one has replaced can be gone back to; 0 destroys it with the write itself. */
  readonly versionRetentionMs: number
}

/** Older versions that are kept at most, however short their time in force was. */
export const MAX_KEPT_VERSIONS = 20
/** A rotation of the master key between the wrap and the insert is met by another try; two in a row are unheard of. */
const MAX_TRIES = 3

/**
 * Stores a sealed secret as the next version; the version before it is kept for a rollback.
 *
 * Throws SealError, PayloadError, ProblemError ERR_RESOURCE_NOT_FOUND, ERR_SECRET_VERSION_CONFLICT. Two writers that
 * saw the same version never both succeed. INVARIANT: new row, superseded row and audit event are one transaction; the
 * plaintext is zero when this returns or throws.
 */
export async function writeSecret(sealed: string, order: SecretOrder, deps: WriteDeps): Promise<SecretMetadata> {
  const { organizationId, resourceId } = order
  await requireResource(order, deps)
  const plaintext = await openSealedSecret(sealed, {
    organizationId,
    resourceId,
    privateKeyOf: kid => privateKeyOf(kid, deps),
  })
  try {
    return await storeNext({ payloadOf: version => canonicalPayload(plaintext, version) }, order, deps)
  } finally {
    plaintext.fill(0)
  }
}

/**
 * Stores the content of an older version once more, as the next version.
 *
 * Throws ProblemError ERR_RESOURCE_NOT_FOUND, ERR_SECRET_VERSION_NOT_FOUND for a version that never was, is in force or
 * is destroyed, ERR_SECRET_VERSION_CONFLICT, ERR_SECRET_UNREADABLE. INVARIANT: as `writeSecret`.
 */
export async function rollbackSecret(toVersion: number, order: SecretOrder, deps: WriteDeps): Promise<SecretMetadata> {
  await requireResource(order, deps)
  const [row] = await selectSuperseded(deps.sql, refOf(order), toVersion)
  if (row === undefined) throw problems.ERR_SECRET_VERSION_NOT_FOUND()
  const older = await openStored(row, deps.keys).catch(error => {
    if (!(error instanceof EnvelopeError)) throw error
    throw problems.ERR_SECRET_UNREADABLE({ facts: { secret_ref: row.secret_ref, key_id: row.key_id } })
  })
  try {
    const payloadOf = (version: number) => withRotationVersion(older, version)
    return await storeNext({ payloadOf, rolledBackTo: toVersion }, order, deps)
  } finally {
    older.fill(0)
  }
}

/**
 * Crypto-erases every version and leaves the tombstones.
 * Throws ProblemError ERR_SECRET_NOT_FOUND, ERR_SECRET_VERSION_CONFLICT. INVARIANT: one transaction with the audit.
 */
export async function deleteSecret(
  order: SecretOrder,
  deps: Pick<WriteDeps, 'sql'>,
): Promise<{ secret_ref: string; version: number; destroyed_at: Date }> {
  const secretRef = refOf(order)
  return await deps.sql.begin(async tx => {
    const [newest] = await selectNewest(tx, secretRef)
    if (newest?.is_live !== true) throw problems.ERR_SECRET_NOT_FOUND()
    refuseUnexpected(order, newest.version)
    const destroyed = await destroyAll(tx, secretRef)
    const live = destroyed.find(({ was_live }) => was_live)
    // Somebody wrote or deleted between the two statements.
    if (live?.version !== newest.version) throw problems.ERR_SECRET_VERSION_CONFLICT()
    await appendAuditEvent(tx, {
      ...auditOf('resource_secret_deleted', order),
      details: { version: live.version, destroyed_versions: destroyed.length },
    })
    return { secret_ref: secretRef, version: live.version, destroyed_at: live.destroyed_at }
  })
}

interface NextContent {
  /** The content for a version number, in a buffer that is zeroed here. */
  readonly payloadOf: (version: number) => Buffer
  readonly rolledBackTo?: number
}

async function storeNext(content: NextContent, order: SecretOrder, deps: WriteDeps): Promise<SecretMetadata> {
  for (let tries = 1; ; tries++) {
    const stored = await tryStore(content, order, deps)
    if (stored !== undefined) return stored
    if (tries === MAX_TRIES) throw problems.ERR_SECRET_VERSION_CONFLICT()
  }
}

/** Undefined where the master key was rotated meanwhile. */
async function tryStore(
  { payloadOf, rolledBackTo }: NextContent,
  order: SecretOrder,
  { sql, keys, versionRetentionMs }: WriteDeps,
): Promise<SecretMetadata | undefined> {
  const { organizationId, resourceId } = order
  const secretRef = refOf(order)
  const keyId = await activeKeyId(sql)
  // Read without a lock, so that no transaction is open while the key provider is asked; the insert tells who was first.
  const [newest] = await selectNewest(sql, secretRef)
  const live = newest?.is_live === true ? newest.version : 0
  refuseUnexpected(order, live)
  const version = (newest?.version ?? 0) + 1
  const payload = payloadOf(version)
  const envelope = await sealEnvelope(
    payload,
    { organizationId, resourceId, secretRef, version },
    { keys, keyId },
  ).finally(() => payload.fill(0))
  return await sql.begin(async tx => {
    if (!(await holdActiveKey(tx, keyId))) return undefined
    if (live > 0) {
      const [superseded] = await supersedeVersion(tx, secretRef, live)
      if (superseded === undefined) throw problems.ERR_SECRET_VERSION_CONFLICT()
    }
    const createdBy = order.actorUserId
    const [stored] = await insertVersion(tx, { secretRef, organizationId, resourceId, version, envelope, createdBy })
    if (stored === undefined) throw problems.ERR_SECRET_VERSION_CONFLICT()
    await appendAuditEvent(tx, {
      ...auditOf('resource_secret_rotated', order),
      details: {
        version,
        previous_version: live,
        key_id: keyId,
        ...(rolledBackTo !== undefined && { rolled_back_to: rolledBackTo }),
      },
    })
    await destroyOld(tx, order, versionRetentionMs === 0 ? 0 : MAX_KEPT_VERSIONS)
    return stored
  })
}

async function destroyOld(tx: Db, order: SecretOrder, keep: number): Promise<void> {
  for (const { version } of await destroyBeyond(tx, refOf(order), keep)) {
    await appendAuditEvent(tx, {
      ...auditOf('resource_secret_version_destroyed', order),
      details: { version, reason: keep === 0 ? 'no_retention' : 'too_many_versions' },
    })
  }
}

async function requireResource(order: SecretOrder, { sql }: Pick<WriteDeps, 'sql'>): Promise<void> {
  const [resource] = await selectResource(sql, order.organizationId, order.resourceId)
  if (resource === undefined) throw problems.ERR_RESOURCE_NOT_FOUND()
}

function refOf({ organizationId, resourceId }: SecretOrder): string {
  return secretRefOf(organizationId, resourceId)
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
    secret_ref: refOf(order),
    outcome: 'ok',
    request_id: order.requestId,
  }
}
