import { ProblemError } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { organizationFor } from '../organizations/access.ts'
import { withResolver } from '../secrets/rules.ts'
import { endSessionsOf } from '../sessions/end-sessions.ts'
import type { Labels } from '../workers/labels.ts'
import { requireResource } from './access.ts'
import { parseAddress } from './address.ts'
import { checkMetadata, type Metadata, mergeMetadata } from './metadata.ts'
import { insertResource, markResourceDeleted, type ResourceRow, updateResource } from './storage.ts'

export interface ResourceInput {
  readonly organizationId?: string | undefined
  readonly name: string
  readonly protocol: 'rdp'
  readonly address: string
  readonly metadata?: Metadata | undefined
  readonly labels?: Labels | undefined
}

export type ResourceChange = Partial<Pick<ResourceInput, 'name' | 'address' | 'metadata' | 'labels'>>

/** Makes a resource. Throws ProblemError ERR_RESOURCE_ADDRESS_INVALID and those of `checkMetadata`. */
export async function createResource(ctx: Context, caller: Caller, input: ResourceInput): Promise<ResourceRow> {
  const organizationId = await organizationFor(ctx.sql, caller, {
    organizationId: input.organizationId,
    permission: 'resources.manage',
  })
  const address = addressOf(input.address)
  const metadata = await guarded(ctx, caller, { organizationId }, () => checkMetadata(input.metadata ?? {}, ctx))
  return await ctx.sql.begin(async tx => {
    const resource = await insertResource(tx, {
      ...input,
      organizationId,
      address,
      metadata,
      labels: input.labels ?? {},
    })
    await auditCaller(tx, caller, {
      organization_id: organizationId,
      event: 'resource_created',
      resource_id: resource.id,
      details: { protocol: resource.protocol, address },
    })
    return resource
  })
}

/** Changes a resource; metadata is merged, and null removes an entry of it. Throws as `createResource` does. */
export async function changeResource(
  ctx: Context,
  caller: Caller,
  { id, change }: { id: string; change: ResourceChange },
): Promise<ResourceRow> {
  const seen = await requireResource(ctx.sql, caller, { id, permission: 'resources.manage' })
  const address = change.address === undefined ? undefined : addressOf(change.address)
  await guarded(ctx, caller, { organizationId: seen.organization_id, resourceId: id }, () =>
    checkMetadata(mergeMetadata(seen.metadata, change.metadata ?? {}), ctx),
  )
  return await ctx.sql.begin(async tx => {
    const resource = await requireResource(tx, caller, { id, permission: 'resources.manage', lock: 'update' })
    const changed = await updateResource(tx, id, {
      name: change.name ?? resource.name,
      address: address ?? resource.address,
      // Merged again from the locked row: somebody else may have changed it since the check above.
      metadata: checkMetadata(mergeMetadata(resource.metadata, change.metadata ?? {}), ctx),
      labels: change.labels ?? resource.labels,
    })
    await auditCaller(tx, caller, {
      organization_id: resource.organization_id,
      event: 'resource_updated',
      resource_id: id,
      secret_ref: resource.secret_ref ?? undefined,
      details: {
        changed: Object.keys(change).sort().join(','),
        // The next session sends the credential to the new address, so the audit tells both.
        ...(address !== undefined && { address, previous_address: resource.address }),
      },
    })
    return changed
  })
}

/**
 * Deletes a resource: its secret first, then the row is marked, and its sessions end.
 * The row is locked meanwhile, so no session starts on it and no secret is written. Throws ProblemError
 * ERR_SECRET_RESOLVER_UNAVAILABLE, and then nothing has changed.
 */
export async function deleteResource(ctx: Context, caller: Caller, id: string): Promise<void> {
  const sessions = await withResolver(ctx, async tx => {
    const resource = await requireResource(tx, caller, { id, permission: 'resources.manage', lock: 'update' })
    await deleteSecretIfThere(ctx, caller, { organizationId: resource.organization_id, resourceId: id })
    await markResourceDeleted(tx, id)
    const ended = await endSessionsOf(tx, { organizationId: resource.organization_id, resourceId: id })
    await auditCaller(tx, caller, {
      organization_id: resource.organization_id,
      event: 'resource_deleted',
      resource_id: id,
      secret_ref: resource.secret_ref ?? undefined,
    })
    return ended
  })
  await sessions.tellWorkers(ctx)
}

async function deleteSecretIfThere(
  ctx: Context,
  caller: Caller,
  place: { organizationId: string; resourceId: string },
): Promise<void> {
  try {
    await ctx.resolver.delete(place, caller)
  } catch (error) {
    // There never was one, or an earlier attempt deleted it and then failed here.
    if (!(error instanceof ProblemError) || error.code !== 'ERR_SECRET_NOT_FOUND') throw error
  }
}

function addressOf(text: string): string {
  const address = parseAddress(text)
  if (address !== undefined) return address
  throw problems.ERR_RESOURCE_ADDRESS_INVALID({
    detail: 'Use host:port, where host is a name, an IPv4 address or an IPv6 address in brackets',
  })
}

/** Writes refused plaintext credentials into the audit: names of keys only. */
async function guarded<T>(
  ctx: Context,
  caller: Caller,
  place: { organizationId: string; resourceId?: string },
  check: () => T,
): Promise<T> {
  try {
    return check()
  } catch (error) {
    if (error instanceof ProblemError && error.code === 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS') {
      await auditCaller(ctx.sql, caller, {
        organization_id: place.organizationId,
        event: 'resource_rejected_plaintext_credentials',
        resource_id: place.resourceId,
        outcome: 'refused',
        code: error.code,
        details: { keys: [error.extras.keys].flat().join(',') },
      })
    }
    throw error
  }
}
