import type { TransactionSql } from '@rap/service-kit'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { Turns } from '../http/turns.ts'
import { requireResource } from '../resources/access.ts'
import { setSecretRef } from '../resources/storage.ts'
import type { SecretMetadata, SecretVersions } from './resolver.ts'
import { checkSealed } from './seal-header.ts'

/**
 * Changes that ask the resolver at once. Each holds a database connection meanwhile, so a resolver that hangs must not
 * be able to hold all of them.
 */
const turns = new Turns({ maxRunning: 4, maxWaiting: 32, refuse: problems.ERR_SECRET_RESOLVER_UNAVAILABLE })

/** Runs a change of a resource that asks the resolver while the resource's row is locked. */
export function withResolver<T>(ctx: Context, change: (tx: TransactionSql) => Promise<T>): Promise<T> {
  return turns.take(async () => (await ctx.sql.begin(change)) as T)
}

/**
 * Passes a sealed secret on to the resolver and sets the resource's reference.
 *
 * The resource's row is locked meanwhile, so that it cannot be deleted between the two. The resolver writes the audit
 * event together with the secret. Throws ProblemError ERR_SECRET_SEAL_INVALID, ERR_SECRET_RESOLVER_UNAVAILABLE, and the
 * resolver's own refusals.
 */
export async function writeSecret(
  ctx: Context,
  caller: Caller,
  given: { id: string; sealed: string; expectedVersion: number | undefined },
): Promise<SecretMetadata> {
  const { id } = given
  return await withResolver(ctx, async tx => {
    const resource = await requireResource(tx, caller, { id, permission: 'secrets.write', lock: 'update' })
    const place = { organizationId: resource.organization_id, resourceId: id }
    checkSealed(given.sealed, place)
    const metadata = await ctx.resolver.write(place, given, caller)
    await setSecretRef(tx, id, true)
    return metadata
  })
}

/** What the resolver knows of the secret. Throws ProblemError ERR_SECRET_NOT_FOUND. */
export async function readSecretMetadata(ctx: Context, caller: Caller, id: string): Promise<SecretMetadata> {
  const resource = await requireResource(ctx.sql, caller, { id, permission: 'secrets.read_metadata' })
  return await ctx.resolver.read({ organizationId: resource.organization_id, resourceId: id }, caller)
}

/** The history of the secret, the newest version first; empty for a resource that never had one. */
export async function readSecretVersions(ctx: Context, caller: Caller, id: string): Promise<SecretVersions> {
  const resource = await requireResource(ctx.sql, caller, { id, permission: 'secrets.read_metadata' })
  return await ctx.resolver.versions({ organizationId: resource.organization_id, resourceId: id }, caller)
}

/**
 * Puts the content of an older version in force again, as a new version; nobody sees the content.
 *
 * The resource's row is locked and refers to its secret afterwards, as with a write. Throws ProblemError
 * ERR_SECRET_VERSION_NOT_FOUND for a version that never was, is in force or is destroyed, and what `writeSecret` throws.
 */
export async function rollbackSecret(
  ctx: Context,
  caller: Caller,
  { id, ...order }: { id: string; toVersion: number; expectedVersion: number | undefined },
): Promise<SecretMetadata> {
  return await withResolver(ctx, async tx => {
    const resource = await requireResource(tx, caller, { id, permission: 'secrets.write', lock: 'update' })
    const place = { organizationId: resource.organization_id, resourceId: id }
    const metadata = await ctx.resolver.rollback(place, order, caller)
    await setSecretRef(tx, id, true)
    return metadata
  })
}

/** Deletes the secret and the resource's reference. Throws ProblemError ERR_SECRET_NOT_FOUND. */
export async function deleteSecret(
  ctx: Context,
  caller: Caller,
  { id, expectedVersion }: { id: string; expectedVersion: number | undefined },
): Promise<void> {
  await withResolver(ctx, async tx => {
    const resource = await requireResource(tx, caller, { id, permission: 'secrets.write', lock: 'update' })
    await ctx.resolver.delete({ organizationId: resource.organization_id, resourceId: id }, caller, expectedVersion)
    await setSecretRef(tx, id, false)
  })
}
