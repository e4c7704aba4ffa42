import type { AuditEvent, Logger, ProblemError } from '@rap/service-kit'
import { type KeyLookup, type LeaseClaims, TokenError, verifyToken } from '@rap/token-claims'
import type { Sql } from 'postgres'
import { problems } from '../errors.ts'
import { EnvelopeError } from '../secrets/envelope.ts'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import { canonicalPayload, PayloadError } from '../secrets/payload.ts'
import type { StoredSecretRow } from '../secrets/store.ts'
import { openStored } from '../secrets/stored.ts'
import { encryptAnswer, importRecipientKey, type RecipientJwk, type RecipientKey } from './answer.ts'
import { firstFailing, type ResolveFacts } from './checks.ts'
import type { Lease } from './lease.ts'
import { readState, selectMetadataPayload, spendToken } from './place.ts'
import type { Admission } from './rate-limit.ts'

export interface ResolveRequest {
  readonly leaseToken: string
  readonly recipientJwk: RecipientJwk
  readonly caller: ResolveFacts['caller']
  readonly requestId: string
  readonly logger: Logger
}

export interface ResolveDeps {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  /** The control plane's public signing keys; rejects where they cannot be had. */
  readonly tokenKeys: KeyLookup
  readonly issuer: string
  readonly isProduction: boolean
  readonly now: () => Date
  readonly admission: Pick<Admission, 'admitSession'>
}

/** A refusal before it is a problem: `verification` is the token's own error code. */
interface Refusal {
  readonly reason: string
  readonly verification?: string | undefined
}

/** The version that a payload from a resource's metadata is said to have: nothing of it was ever stored. */
const METADATA_VERSION = 1

/**
 * Hands one secret to one worker, once: every check of `RESOLVE_CHECKS`, then a JWE to the worker's fresh key.
 *
 * Throws ProblemError ERR_RESOLVE_DENIED for every refusal, ERR_RATE_LIMITED, and ERR_UPSTREAM_UNAVAILABLE where a part
 * that has to be asked is away. INVARIANT: the spent token and the audit event of its answer are committed together, before
 * the answer is given to anybody; a token is spent exactly where the audit has its `resource_secret_accessed`. The plaintext
 * is zero when this returns or throws.
 */
export async function resolveSecret(request: ResolveRequest, deps: ResolveDeps): Promise<{ jwe: string }> {
  const { facts, recipient, verification } = await readRequest(request, deps)
  const failing = firstFailing('request', facts)
  if (failing !== undefined) throw denial({ reason: failing.reason, verification }, { request, claims: facts.claims })
  const claims = facts.claims as LeaseClaims
  const lease = await deps.admission.admitSession(claims.session_id, claims.lease_id)
  const outcome = await decide({ ...facts, claims, lease }, { request, deps, recipient: recipient as RecipientKey })
  if ('reason' in outcome) throw denial(outcome, { request, claims, lease })
  return outcome
}

async function readRequest(request: ResolveRequest, deps: ResolveDeps) {
  const recipient = importRecipientKey(request.recipientJwk)
  let claims: LeaseClaims | undefined
  let verification: string | undefined
  try {
    claims = await verifyToken('lease', request.leaseToken, {
      keys: deps.tokenKeys,
      issuer: deps.issuer,
      nowSeconds: Math.floor(deps.now().getTime() / 1000),
    })
  } catch (err) {
    if (!(err instanceof TokenError)) throw err
    verification = err.code
  }
  const facts: ResolveFacts = {
    isProduction: deps.isProduction,
    caller: request.caller,
    hasRecipientKey: recipient !== undefined,
    claims,
    lease: undefined,
    place: undefined,
    secret: undefined,
    isFirstUse: false,
  }
  return { facts, recipient, verification }
}

interface Decision {
  readonly request: ResolveRequest
  readonly deps: ResolveDeps
  readonly recipient: RecipientKey
}

/**
 * One question to the database, and one order. What ends between the two (a session, an attachment, a worker) ends after
 * the decision: the window is that of opening and encrypting, as it would be in a transaction around both, which holds
 * no other row than the token's either.
 */
async function decide(
  requestFacts: ResolveFacts & { readonly claims: LeaseClaims },
  { request, deps, recipient }: Decision,
): Promise<{ jwe: string } | Refusal> {
  const { claims } = requestFacts
  const { place, secret, isTokenUsed } = await readState(deps.sql, claims)
  // A replay that can be seen already decrypts nothing.
  const facts = { ...requestFacts, place, secret, isFirstUse: !isTokenUsed }
  const failing = firstFailing('state', facts) ?? firstFailing('use', facts)
  if (failing !== undefined) return failing

  const answer = await encryptPayload(claims, { secret, request, deps, recipient })
  if ('reason' in answer) return answer
  const [spent] = await spendToken(deps.sql, claims, {
    ...auditOf(request, claims),
    event: 'resource_secret_accessed',
    outcome: 'ok',
    details: { version: secret?.version ?? null, lease_id: claims.lease_id, from_metadata: secret === undefined },
  })
  // Of parallel requests with one token the database takes one; what was encrypted for the others goes nowhere.
  return firstFailing('use', { ...facts, isFirstUse: spent !== undefined }) ?? answer
}

interface Opening {
  readonly secret: StoredSecretRow | undefined
  readonly request: ResolveRequest
  readonly deps: ResolveDeps
}

async function encryptPayload(
  claims: LeaseClaims,
  { recipient, ...opening }: Opening & { readonly recipient: RecipientKey },
): Promise<{ jwe: string } | Refusal> {
  const payload = await openPayload(claims, opening)
  if (!Buffer.isBuffer(payload)) return payload
  try {
    return { jwe: encryptAnswer(payload, recipient, claims.jti) }
  } finally {
    payload.fill(0)
  }
}

async function openPayload(claims: LeaseClaims, { secret, request, deps }: Opening): Promise<Buffer | Refusal> {
  try {
    return secret === undefined ? await openMetadata(deps.sql, claims.resource_id) : await openStored(secret, deps.keys)
  } catch (err) {
    if (err instanceof PayloadError) return { reason: 'metadata_credentials_invalid' }
    if (!(err instanceof EnvelopeError)) throw err
    // Nobody but an operator can put this right: the row was changed, or its key is another one than its id says.
    request.logger.error(
      {
        event: 'secret_does_not_open',
        secret_ref: secret?.secret_ref,
        version: secret?.version,
        key_id: secret?.key_id,
      },
      'stored secret does not open',
    )
    return { reason: 'secret_does_not_open' }
  }
}

async function openMetadata(sql: Sql, resourceId: string): Promise<Buffer> {
  const [row] = await selectMetadataPayload(sql, resourceId)
  if (row === undefined) throw new PayloadError('missing_field')
  try {
    return canonicalPayload(row.payload, METADATA_VERSION)
  } finally {
    row.payload.fill(0)
  }
}

interface Denied {
  readonly request: ResolveRequest
  readonly claims: LeaseClaims | undefined
  /** A lease that is live. */
  readonly lease?: Lease | undefined
}

/** What the caller sees is the same for every reason; the reason goes to the audit and the log. */
function denial(refusal: Refusal, { request, claims, lease }: Denied): ProblemError {
  const { reason, verification } = refusal
  const details = {
    reason,
    ...(verification !== undefined && { verification }),
    ...(lease !== undefined && { lease_id: lease.lease_id }),
  }
  return problems.ERR_RESOLVE_DENIED({
    facts: { reason, verification, session_id: claims?.session_id, attachment_id: claims?.attachment_id },
    audit: {
      ...auditOf(request, claims),
      event: 'resource_secret_access_denied',
      outcome: 'refused',
      code: 'ERR_RESOLVE_DENIED',
      details,
    },
  })
}

/** Ids only; `claims` are verified ones, so nothing that a stranger wrote gets into the audit. */
function auditOf({ caller, requestId }: ResolveRequest, claims: LeaseClaims | undefined) {
  const actor: AuditEvent['actor'] =
    caller === undefined
      ? { kind: 'system', id: 'unidentified' }
      : { kind: caller.kind === 'worker' ? 'worker' : 'service', id: caller.id }
  return {
    organization_id: claims?.organization_id ?? null,
    actor,
    worker_id: claims?.worker_id,
    session_id: claims?.session_id,
    attachment_id: claims?.attachment_id,
    resource_id: claims?.resource_id,
    secret_ref: claims?.secret_ref ?? undefined,
    request_id: requestId,
  }
}
