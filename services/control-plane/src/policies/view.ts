import { CHANNELS, type Channel, LIMITS, PolicyLimits, SessionLimits } from '@rap/session-policy'
import { Type } from '@sinclair/typebox'
import { Nullable, Time, Uuid } from '../http/schemas.ts'
import type { GrantRow } from './grants.ts'
import type { PlacedPolicy } from './rules.ts'

const ranges = Object.entries(LIMITS).map(([name, { min, max, unit }]) => `${name} (${min} to ${max} ${unit})`)

/** A policy as it is written; which names there are is decided by `checkDocument`, so that a refusal can name the wrong one. */
export const Document = Type.Object(
  {
    channels: Type.Optional(
      Type.Array(Type.String({ maxLength: 40, pattern: '^[a-z][a-z0-9_]*$' }), {
        maxItems: 16,
        uniqueItems: true,
        description: `Absent: as the scope above says. Of: ${CHANNELS.join(', ')}`,
      }),
    ),
    limits: Type.Optional(PolicyLimits),
  },
  {
    description: `What it does not name it leaves to the scope above. Limits: ${ranges.join(', ')}, upload_extensions`,
  },
)

const versioned = {
  document: Document,
  version: Type.Integer({ description: '0 where there is none' }),
  updated_at: Nullable(Time),
  updated_by: Nullable(Uuid),
}
const sessionsChanged = { sessions_changed: Type.Integer({ description: 'Sessions that the change reached' }) }

export const OrganizationPolicy = Type.Object({ organization_id: Uuid, ...versioned })
export const ResourcePolicy = Type.Object({ resource_id: Uuid, ...versioned })
export const Grant = Type.Object({
  user_id: Uuid,
  email: Type.String(),
  display_name: Type.String(),
  ...versioned,
})
const GrantPolicy = Type.Object({ resource_id: Uuid, user_id: Uuid, ...versioned })

export const ChangedOrganizationPolicy = Type.Composite([OrganizationPolicy, Type.Object(sessionsChanged)])
export const ChangedResourcePolicy = Type.Composite([ResourcePolicy, Type.Object(sessionsChanged)])
export const ChangedGrant = Type.Composite([GrantPolicy, Type.Object(sessionsChanged)])

const DecidedBy = Type.String({ description: 'default, organization, resource or grant' })
const ChannelDecision = Type.Object({ allowed: Type.Boolean(), decided_by: DecidedBy })

export const EffectivePolicyAnswer = Type.Object({
  resource_id: Uuid,
  user_id: Uuid,
  channels: Type.Object(
    Object.fromEntries(CHANNELS.map(channel => [channel, ChannelDecision])) as Record<Channel, typeof ChannelDecision>,
  ),
  limits: Type.Object(
    Object.fromEntries(
      Object.entries(SessionLimits.properties).map(([name, value]) => [
        name,
        Type.Object({ value, decided_by: DecidedBy }),
      ]),
    ),
  ),
})

function versionOf({ row }: PlacedPolicy) {
  return {
    document: row?.document ?? {},
    version: row?.version ?? 0,
    updated_at: row?.updated_at.toISOString() ?? null,
    updated_by: row?.updated_by ?? null,
  }
}

export function organizationPolicyView(policy: PlacedPolicy) {
  return { organization_id: policy.place.organizationId, ...versionOf(policy) }
}

export function resourcePolicyView(policy: PlacedPolicy) {
  return { resource_id: policy.place.resourceId ?? '', ...versionOf(policy) }
}

export function grantPolicyView(policy: PlacedPolicy) {
  return { ...resourcePolicyView(policy), user_id: policy.place.userId ?? '' }
}

export function grantView(row: GrantRow) {
  return {
    user_id: row.user_id,
    email: row.email,
    display_name: row.display_name,
    document: row.document,
    version: row.version,
    updated_at: row.updated_at.toISOString(),
    updated_by: row.updated_by,
  }
}
