import type { SpiffeKind } from '@rap/pki'
import { ProblemError, type Standing, type TransactionSql } from '@rap/service-kit'
import type { SignedTrustBundle } from '@rap/trust-bundle'
import { auditCaller, auditStranger, type EventBy, eventOfStranger } from '../audit/write.ts'
import type { Caller, Origin } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import type { Labels } from '../workers/labels.ts'
import { csrOf, type IssueDeps, type Issued, issueCertificateFor } from './issue.ts'
import { isSameSecret, newJoinToken, parseJoinToken } from './join-token.ts'
import { registeredNames } from './names.ts'
import {
  type IdentityRow,
  insertJoinToken,
  type JoinTokenRow,
  lockIdentity,
  lockJoinToken,
  register,
  spendJoinToken,
} from './register.ts'
import { newestBundle } from './store.ts'

/** How long the key that a token was used with may ask again, since an answer can get lost, in milliseconds. */
const ASK_AGAIN_MS = 10 * 60_000
export const DEFAULT_TOKEN_SECONDS = 3600
export const MAX_TOKEN_SECONDS = 7 * 24 * 3600

export interface JoinTokenInput {
  readonly kind: SpiffeKind
  /** Undefined for a new worker. */
  readonly id: string | undefined
  readonly name: string
  readonly dns_names: readonly string[] | undefined
  readonly ip_addresses: readonly string[] | undefined
  readonly labels: Labels
  readonly ttlSeconds: number
}

export interface MadeJoinToken {
  readonly id: string
  readonly kind: SpiffeKind
  readonly identity_id: string
  /** Shown once: the database holds its hash. */
  readonly join_token: string
  readonly expires_at: Date
}

/**
 * Registers an identity and makes the token that it enrols with.
 * Throws ProblemError ERR_PLATFORM_CA_UNMANAGED, ERR_IDENTITY_NAMES_INVALID, ERR_WORKER_REVOKED.
 */
export async function makeJoinToken(
  tx: TransactionSql,
  input: JoinTokenInput,
  createdBy: string | null,
): Promise<{ token: MadeJoinToken; identity: IdentityRow }> {
  const bundle = await newestBundle(tx)
  if (bundle === undefined) throw problems.ERR_PLATFORM_CA_UNMANAGED()
  const identity = await register(tx, { ...input, ...registeredNames(input) })
  if (identity === undefined) throw problems.ERR_WORKER_REVOKED()
  const made = newJoinToken(bundle.sha256)
  const { id, secretSha256 } = made
  const { expires_at } = await insertJoinToken(tx, {
    id,
    secretSha256,
    identity,
    createdBy,
    ttlSeconds: input.ttlSeconds,
  })
  const join_token = made.text.expose().toString('utf8')
  made.text.destroy()
  return { token: { id, kind: identity.kind, identity_id: identity.id, join_token, expires_at }, identity }
}

/** The audit event of a new token: who may join, under which names. */
export function joinTokenCreated({ id, expires_at }: MadeJoinToken, identity: IdentityRow): EventBy {
  return {
    organization_id: null,
    event: 'join_token_created',
    ...(identity.kind === 'worker' && { worker_id: identity.id }),
    details: {
      join_token_id: id,
      identity: `${identity.kind}/${identity.id}`,
      dns_names: identity.dns_names.join(','),
      ip_addresses: identity.ip_addresses.join(','),
      expires_at: expires_at.toISOString(),
    },
  }
}

export interface Enrolled extends Issued {
  readonly identity: IdentityRow
  readonly trustBundle: SignedTrustBundle
}

/** Why a token is refused; the audit is told, the stranger is not. */
type TokenRefusal = 'malformed' | 'unknown' | 'wrong_secret' | 'deleted' | 'expired' | 'used' | 'identity_revoked'

/** Undoes the transaction of a refused enrolment. */
class RefusedEnrolment extends Error {
  override readonly name = 'RefusedEnrolment'
  readonly reason: TokenRefusal
  readonly token: JoinTokenRow | undefined
  constructor(reason: TokenRefusal, token?: JoinTokenRow) {
    super('enrolment is refused')
    this.reason = reason
    this.token = token
  }
}

/**
 * Gives a certificate for a join token.
 *
 * Throws ProblemError ERR_ENROLMENT_REFUSED, whatever is wrong with the token, and for the holder of a good one
 * ERR_CSR_INVALID, ERR_CSR_NAMES, which spend nothing. INVARIANT: the token is spent in the transaction that records the certificate.
 */
export async function enrol(
  ctx: Context,
  deps: IssueDeps,
  { joinToken, csr: csrPem, origin }: { joinToken: string; csr: string; origin: Origin },
): Promise<Enrolled> {
  let good: JoinTokenRow | undefined
  try {
    return await ctx.sql.begin(async tx => {
      const { token, identity } = await openToken(tx, joinToken)
      good = token
      const csr = await csrOf(csrPem)
      refuseUsed(token, csr.keySha256)
      const issued = await issueCertificateFor(tx, deps, { identity, csr, reason: 'enrolment' })
      await spendJoinToken(tx, token.id, csr.keySha256)
      const bundle = await newestBundle(tx)
      if (bundle === undefined) throw problems.ERR_PLATFORM_CA_UNMANAGED()
      await auditStranger(tx, origin, {
        organization_id: null,
        event: 'identity_enrolled',
        ...(identity.kind === 'worker' && { worker_id: identity.id }),
        details: {
          identity: `${identity.kind}/${identity.id}`,
          join_token_id: token.id,
          serial: issued.serial,
          thumbprint: issued.thumbprint,
          again: token.used_at !== null,
        },
      })
      return { ...issued, identity, trustBundle: bundle.signed }
    })
  } catch (error) {
    if (error instanceof RefusedEnrolment) {
      await auditRefusal(ctx, origin, { ...error, code: 'ERR_ENROLMENT_REFUSED' })
      throw problems.ERR_ENROLMENT_REFUSED()
    }
    if (error instanceof ProblemError && error.code.startsWith('ERR_CSR_')) {
      await auditRefusal(ctx, origin, { reason: 'csr', token: good, code: error.code })
    }
    throw error
  }
}

async function openToken(tx: TransactionSql, text: string): Promise<{ token: JoinTokenRow; identity: IdentityRow }> {
  const given = parseJoinToken(text)
  if (given === undefined) throw new RefusedEnrolment('malformed')
  const token = await lockJoinToken(tx, given.id)
  if (token === undefined) throw new RefusedEnrolment('unknown')
  if (!isSameSecret(given.secretSha256, token.secret_sha256)) throw new RefusedEnrolment('wrong_secret', token)
  if (token.deleted_at !== null) throw new RefusedEnrolment('deleted', token)
  if (token.expires_at.getTime() <= Date.now()) throw new RefusedEnrolment('expired', token)
  const identity = await lockIdentity(tx, token.kind, token.identity_id)
  if (identity?.state !== 'active') throw new RefusedEnrolment('identity_revoked', token)
  return { token, identity }
}

/** The same key proves the same machine: for a while it may have its answer again. */
function refuseUsed(token: JoinTokenRow, keySha256: string): void {
  if (token.used_at === null) return
  const isAgain = token.used_key_sha256 === keySha256 && Date.now() - token.used_at.getTime() < ASK_AGAIN_MS
  if (!isAgain) throw new RefusedEnrolment('used', token)
}

interface Refused {
  readonly code: string
  readonly reason: TokenRefusal | 'csr'
  readonly token: JoinTokenRow | undefined
}

async function auditRefusal(ctx: Context, origin: Origin, { code, reason, token }: Refused): Promise<void> {
  const event = eventOfStranger(origin, {
    organization_id: null,
    event: 'identity_enrolment_refused',
    outcome: 'refused',
    code,
    details: {
      reason,
      ...(token !== undefined && { join_token_id: token.id, identity: `${token.kind}/${token.identity_id}` }),
    },
  })
  await ctx.refusals.report(event, standingOf(reason, token))
}

/** The holder of a good token who asks for more than it is for is not hidden by those who guess or come too late. */
function standingOf(reason: Refused['reason'], token: JoinTokenRow | undefined): Standing {
  if (token === undefined) return 'stranger'
  return reason === 'csr' ? 'holder' : 'claimant'
}

/** Makes a token for somebody who calls the API. Throws as `makeJoinToken` does. */
export async function orderJoinToken(ctx: Context, caller: Caller, input: JoinTokenInput): Promise<MadeJoinToken> {
  return await ctx.sql.begin(async tx => {
    const { token, identity } = await makeJoinToken(tx, input, caller.id)
    await auditCaller(tx, caller, joinTokenCreated(token, identity))
    return token
  })
}
