import {
  type AuditEvent,
  buildServer,
  type Logger,
  type Metrics,
  type ProblemError,
  peerIdentity,
  type RapServer,
  type Redis,
  type Sql,
  type TlsMaterial,
} from '@rap/service-kit'
import type { KeyLookup } from '@rap/token-claims'
import type { FastifyRequest } from 'fastify'
import { problemOfDatabase, problemOfKeyProvider, problemOfRefusedSecret } from './errors.ts'
import { addMasterKeyRoutes } from './master-keys/routes.ts'
import { auditRefusal, openRefusals } from './refusals.ts'
import { admission, type Limits } from './resolve/rate-limit.ts'
import { addResolveRoute } from './resolve/routes.ts'
import { openRevocations } from './revocations.ts'
import type { KeyWrapPort } from './secrets/key-wrap.ts'
import { addSecretRoutes } from './secrets/routes.ts'
import { addStrangerRules } from './strangers.ts'
import { problemOfUnclassified } from './unclassified.ts'

/** Largest request body, in bytes: a sealed payload of the largest size and what stands around it. */
const BODY_LIMIT_BYTES = 16 * 1024

export interface AppOptions {
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly tls: TlsMaterial
  readonly trustDomain: string
  readonly sql: Sql
  readonly redis: Redis
  readonly keys: KeyWrapPort
  /** How long a replaced version of a secret is kept; 0 for not at all. */
  readonly versionRetentionMs: number
  /** Goes on with a re-wrap that was just ordered. */
  readonly kickRewrap: () => void
  readonly tokenKeys: KeyLookup
  readonly issuer: string
  readonly isProduction: boolean
  readonly limits: Limits
  readonly now?: () => Date
  /** Window of counted refusals, in milliseconds; that of `RefusalAudit` when absent. */
  readonly auditWindowMs?: number
}

/**
 * The resolver's server: HTTPS for holders of a platform certificate, each route for one kind of them.
 * INVARIANT: a handshake without a client certificate of the platform CA fails, so no route sees a stranger; and every
 * route refuses whom the control plane has revoked.
 */
export async function buildApp(options: AppOptions): Promise<RapServer> {
  const { logger, metrics, sql, redis, limits, now = () => new Date() } = options
  const refusals = openRefusals(sql, { logger, metrics, windowMs: options.auditWindowMs })
  const revocations = openRevocations(sql, logger)
  await revocations.start()
  const app = await buildServer({
    service: 'secret-resolver',
    logger,
    metrics,
    tls: { ...options.tls, requireClientCertificate: true },
    trustDomain: options.trustDomain,
    revocations,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    healthRoutes: false,
    mapError: error =>
      problemOfRefusedSecret(error) ??
      problemOfKeyProvider(error) ??
      problemOfDatabase(error) ??
      problemOfUnclassified(error),
    onRefusal: (problem, request) => auditRefusal(refusalEvent(problem, request), { sql, refusals }),
  })
  // After the last request, and while the database is there.
  app.addHook('onClose', async () => {
    revocations.close()
    await refusals.close()
  })
  app.addHook('onError', async (_request, reply, error) => {
    const seconds = (error as Partial<ProblemError>).extras?.retry_after_seconds
    if (typeof seconds === 'number') reply.header('retry-after', seconds)
  })
  const admitted = admission(redis, limits)
  addStrangerRules(app, { refusals, admission: admitted })
  const deps = { ...options, now, admission: admitted }
  addSecretRoutes(app, deps)
  addMasterKeyRoutes(app, deps)
  addResolveRoute(app, deps)
  return app
}

interface SecretRequest {
  readonly params?: { readonly organization_id?: string; readonly resource_id?: string }
  readonly body?: { readonly actor_user_id?: string; readonly request_id?: string }
}

/** The audit event of a refusal: what the problem says of it, filled up with what the request is known to be. */
function refusalEvent({ audit }: ProblemError, request: FastifyRequest): AuditEvent {
  const caller = peerIdentity(request)
  const { params, body } = request as SecretRequest
  const actor: AuditEvent['actor'] =
    body?.actor_user_id === undefined
      ? { kind: caller?.kind ?? 'system', id: caller?.id ?? 'unidentified' }
      : { kind: 'user', id: body.actor_user_id }
  return {
    organization_id: params?.organization_id ?? null,
    resource_id: params?.resource_id,
    request_id: body?.request_id ?? request.id,
    actor,
    event: 'resource_secret_access_denied',
    outcome: 'refused',
    ...audit,
  }
}
