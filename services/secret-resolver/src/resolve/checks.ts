import type { LeaseClaims } from '@rap/token-claims'
import type { StoredSecretRow } from '../secrets/store.ts'
import type { Lease } from './lease.ts'
import type { PlaceRow } from './place.ts'

/** Everything that a decision looks at; what could not be found out is undefined and passes no check. */
export interface ResolveFacts {
  readonly isProduction: boolean
  /** The verified client certificate. */
  readonly caller: { readonly kind: string; readonly id: string; readonly thumbprint: string } | undefined
  /** Whether the key for the answer is a point on the curve. */
  readonly hasRecipientKey: boolean
  /** The claims of a lease token whose signature, type, audience, issuer and times are right. */
  readonly claims: LeaseClaims | undefined
  readonly lease: Lease | undefined
  readonly place: PlaceRow | undefined
  readonly secret: StoredSecretRow | undefined
  /** Whether this transaction is the first to use the token. */
  readonly isFirstUse: boolean
}

/**
 * When a check can be made: on the `request` alone, on the `state` that Redis and Postgres hold, and on the `use`, which
 * spends the token. So a token that fails an earlier check, a stolen one for example, is not spent for its owner.
 */
export type ResolveStage = 'request' | 'state' | 'use'

export interface ResolveCheck {
  /** What the audit says where the check does not hold. */
  readonly reason: string
  readonly stage: ResolveStage
  readonly holds: (facts: ResolveFacts) => boolean
}

/** Undefined is equal to nothing, not even to itself: a fact that is missing on both sides is no agreement. */
const same = (left: string | null | undefined, right: string | null | undefined) =>
  typeof left === 'string' && left === right

const LIVE_SESSION = new Set(['assigning', 'ready', 'active'])
const LIVE_ATTACHMENT = new Set(['assigning', 'ready', 'active'])

/** All checks of a resolve, in their order; the first one that does not hold is the reason of the refusal. */
export const RESOLVE_CHECKS: readonly ResolveCheck[] = [
  { stage: 'request', reason: 'caller_is_no_worker', holds: f => f.caller?.kind === 'worker' },
  { stage: 'request', reason: 'recipient_key_invalid', holds: f => f.hasRecipientKey },
  { stage: 'request', reason: 'lease_token_invalid', holds: f => f.claims !== undefined },
  {
    stage: 'request',
    reason: 'certificate_mismatch',
    holds: f => same(f.claims?.cnf['x5t#S256'], f.caller?.thumbprint),
  },
  { stage: 'request', reason: 'worker_mismatch', holds: f => same(f.claims?.worker_id, f.caller?.id) },

  { stage: 'state', reason: 'worker_not_active', holds: f => f.place?.worker_state === 'active' },
  { stage: 'state', reason: 'lease_not_live', holds: f => f.lease !== undefined },
  { stage: 'state', reason: 'lease_mismatch', holds: f => same(f.lease?.lease_id, f.claims?.lease_id) },
  { stage: 'state', reason: 'lease_mismatch', holds: f => same(f.lease?.worker_id, f.claims?.worker_id) },
  { stage: 'state', reason: 'lease_mismatch', holds: f => same(f.lease?.session_id, f.claims?.session_id) },
  { stage: 'state', reason: 'lease_mismatch', holds: f => same(f.lease?.attachment_id, f.claims?.attachment_id) },
  { stage: 'state', reason: 'session_unknown', holds: f => typeof f.place?.session_state === 'string' },
  { stage: 'state', reason: 'session_not_live', holds: f => LIVE_SESSION.has(f.place?.session_state ?? '') },
  {
    stage: 'state',
    reason: 'organization_mismatch',
    holds: f => same(f.place?.session_organization_id, f.claims?.organization_id),
  },
  {
    stage: 'state',
    reason: 'resource_mismatch',
    holds: f => same(f.place?.session_resource_id, f.claims?.resource_id),
  },
  { stage: 'state', reason: 'attachment_unknown', holds: f => typeof f.place?.attachment_state === 'string' },
  { stage: 'state', reason: 'attachment_superseded', holds: f => f.place?.attachment_state !== 'superseded' },
  { stage: 'state', reason: 'attachment_not_live', holds: f => LIVE_ATTACHMENT.has(f.place?.attachment_state ?? '') },
  {
    stage: 'state',
    reason: 'session_mismatch',
    holds: f => same(f.place?.attachment_session_id, f.claims?.session_id),
  },
  { stage: 'state', reason: 'worker_mismatch', holds: f => same(f.place?.attachment_worker_id, f.claims?.worker_id) },
  { stage: 'state', reason: 'lease_mismatch', holds: f => same(f.place?.attachment_lease_id, f.claims?.lease_id) },
  {
    stage: 'state',
    reason: 'resource_unknown',
    holds: f => typeof f.place?.resource_organization_id === 'string' && f.place.resource_is_deleted === false,
  },
  {
    stage: 'state',
    reason: 'organization_mismatch',
    holds: f => same(f.place?.resource_organization_id, f.claims?.organization_id),
  },
  {
    // Null on both sides is development's resource without a stored secret; the next check is about it.
    stage: 'state',
    reason: 'secret_ref_mismatch',
    holds: f => f.claims !== undefined && f.place !== undefined && f.claims.secret_ref === f.place.resource_secret_ref,
  },
  {
    stage: 'state',
    reason: 'plaintext_metadata_refused',
    holds: f => !f.isProduction || typeof f.place?.resource_secret_ref === 'string',
  },
  {
    stage: 'state',
    reason: 'secret_unknown',
    holds: f => f.place?.resource_secret_ref === null || f.secret !== undefined,
  },
  {
    stage: 'state',
    reason: 'secret_ref_mismatch',
    holds: f => f.place?.resource_secret_ref === null || same(f.secret?.organization_id, f.claims?.organization_id),
  },
  {
    stage: 'state',
    reason: 'secret_ref_mismatch',
    holds: f => f.place?.resource_secret_ref === null || same(f.secret?.resource_id, f.claims?.resource_id),
  },

  { stage: 'use', reason: 'lease_token_replayed', holds: f => f.isFirstUse },
]

/** The first check of a stage that does not hold, or undefined. */
export function firstFailing(stage: ResolveStage, facts: ResolveFacts): ResolveCheck | undefined {
  return RESOLVE_CHECKS.find(check => check.stage === stage && !check.holds(facts))
}
