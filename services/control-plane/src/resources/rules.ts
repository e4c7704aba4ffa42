import { ProblemError } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { organizationFor } from '../organizations/access.ts'
import { deletePoliciesOfResource } from '../policies/storage.ts'
import { withResolver } from '../secrets/rules.ts'
import { endSessionsOf } from '../sessions/end-sessions.ts'
import type { Labels } from '../workers/labels.ts'
import { requireResource } from './access.ts'
import { parseAddress } from './address.ts'
import { auditingCredentials, refuseCredentials } from './credential-guard.ts'
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

/**
 * Makes a resource, which has no secret yet. Throws ProblemError ERR_RESOURCE_PLAINTEXT_CREDENTIALS in production,
 * ERR_RESOURCE_ADDRESS_INVALID and those of `checkMetadata`.
 */
export async function createResource(ctx: Context, caller: Caller, input: ResourceInput): Promise<ResourceRow> {
  const organizationId = await organizationFor(ctx.sql, caller, {
    organizationId: input.organizationId,
    permission: 'resources.manage',
  })
  const given = { ...input, metadata: input.metadata ?? {}, labels: input.labels ?? {} }
  return await auditingCredentials(ctx, caller, {
    attempt: { operation: 'create', organizationId },
    work: async () => {
      refuseCredentials(given, ctx)
      const address = addressOf(input.address)
      const metadata = checkMetadata(given.metadata, ctx)
      return await ctx.sql.begin(async tx => {
        const resource = await insertResource(tx, { ...given, organizationId, address, metadata })
        await auditCaller(tx, caller, {
          organization_id: organizationId,
          event: 'resource_created',
          resource_id: resource.id,
          details: { protocol: resource.protocol, address },
        })
        return resource
      })
    },
  })
}

/** Changes a resource; metadata is merged, and null removes an entry of it. Throws as `createResource` does. */
export async function changeResource(
  ctx: Context,
  caller: Caller,
  { id, change }: { id: string; change: ResourceChange },
): Promise<ResourceRow> {
  const seen = await requireResource(ctx.sql, caller, { id, permission: 'resources.manage' })
  return await auditingCredentials(ctx, caller, {
    attempt: { operation: 'change', organizationId: seen.organization_id, resourceId: id },
    work: () =>
      ctx.sql.begin(async tx => {
        const resource = await requireResource(tx, caller, { id, permission: 'resources.manage', lock: 'update' })
        const merged = {
          name: change.name ?? resource.name,
          address: change.address ?? resource.address,
          metadata: mergeMetadata(resource.metadata, change.metadata ?? {}),
          labels: change.labels ?? resource.labels,
        }
        // The whole of it, so that a row from earlier times is changed only into one without credentials.
        refuseCredentials(merged, ctx)
        const address = change.address === undefined ? undefined : addressOf(change.address)
        const changed = await updateResource(tx, id, {
          ...merged,
          address: address ?? resource.address,
          metadata: checkMetadata(merged.metadata, ctx),
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
      }),
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
    await deletePoliciesOfResource(tx, id)
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
