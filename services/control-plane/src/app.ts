import fastifyCookie from '@fastify/cookie'
import fastifyRateLimit from '@fastify/rate-limit'
import {
  buildServer,
  isProduction,
  type Logger,
  type Metrics,
  type RapServer,
  type ReadyCheck,
  type Redis,
  Revocations,
  type ServerTls,
  type Sql,
} from '@rap/service-kit'
import type { FastifyRequest } from 'fastify'
import { internalAuditRoutes } from './audit/internal-routes.ts'
import { auditForeignPeers, openRefusals } from './audit/refusals.ts'
import { auditRoutes } from './audit/routes.ts'
import { bootstrap } from './auth/bootstrap.ts'
import { addressKey } from './auth/client-address.ts'
import { authRoutes } from './auth/routes.ts'
import type { Config } from './config.ts'
import type { Context } from './context.ts'
import { type Identify, identifyByCertificate } from './http/peer.ts'
import { refuseBrokenText } from './http/text.ts'
import type { KeyWrapping } from './keys/wrapping.ts'
import type { MasterKeysPort } from './master-keys/keeper.ts'
import { masterKeyRoutes } from './master-keys/routes.ts'
import { organizationRoutes } from './organizations/routes.ts'
import { authorityRoutes } from './platform-ca/authority-routes.ts'
import { trustBundleRoutes } from './platform-ca/bundle-routes.ts'
import { enrolmentRoutes, internalIdentityRoutes } from './platform-ca/enrolment-routes.ts'
import { identityRoutes } from './platform-ca/identity-routes.ts'
import type { PlatformCa } from './platform-ca/platform-ca.ts'
import { policyRoutes } from './policies/routes.ts'
import { portalRoutes } from './portal/routes.ts'
import { resourceRoutes } from './resources/routes.ts'
import { auditRevokedPeers } from './revocation/audit.ts'
import { listRevocations } from './revocation/register.ts'
import { revocationRoutes } from './revocation/routes.ts'
import type { ResolverPort } from './secrets/resolver.ts'
import { secretRoutes } from './secrets/routes.ts'
import { sessionEventRoutes } from './sessions/events-routes.ts'
import { internalSessionRoutes } from './sessions/internal-routes.ts'
import { startReaper } from './sessions/reaper.ts'
import { sessionRoutes } from './sessions/routes.ts'
import { StateEvents } from './sessions/state-events.ts'
import { internalTargetRoutes } from './targets/internal-routes.ts'
import { targetIdentityRoutes } from './targets/routes.ts'
import { keySetRoute, trustRoutes } from './trust/routes.ts'
import { SigningKeys } from './trust/signing-keys.ts'
import { directoryRoutes } from './workers/directory-routes.ts'
import { internalWorkerRoutes } from './workers/internal-routes.ts'
import { workerRoutes } from './workers/routes.ts'

/** Largest body of a public route, in bytes: a sealed secret and what stands around it. */
const PUBLIC_BODY_LIMIT_BYTES = 32 * 1024
/** Largest body of an internal route, in bytes: a poll of 1000 attachments and 1000 sessions. */
const INTERNAL_BODY_LIMIT_BYTES = 128 * 1024
/** Addresses that the request limit remembers; the ones seen least recently go first. */
const RATE_LIMIT_ADDRESSES = 20_000

/** Everything that is opened outside. */
export interface AppDeps {
  /** A database whose schema is up to date. */
  readonly sql: Sql
  readonly redis: Redis
  readonly logger: Logger
  /** Wraps signing keys and authorities at rest. */
  readonly keys: KeyWrapping
  readonly resolver: ResolverPort
  readonly masterKeys: MasterKeysPort
  readonly platformCa: PlatformCa
  /** Aborted when the service drains. */
  readonly signal: AbortSignal
  readonly publicTls?: ServerTls | undefined
  readonly internalTls?: ServerTls | undefined
  readonly metrics?: Metrics | undefined
  /** Who an internal caller is; the verified client certificate says so unless a test says otherwise. */
  readonly identify?: Identify
  /** Seconds since the epoch. */
  readonly nowSeconds?: () => number
}

export interface ControlPlane {
  readonly context: Context
  /** `/v1/*`, the key set, the API's page and the portal. */
  readonly publicApp: RapServer
  /** `/internal/v1/*`, for peers with a platform certificate. */
  readonly internalApp: RapServer
  readonly ready: ReadyCheck
  /** Starts what runs by itself; its result stops that again. */
  startBackground(): () => Promise<void>
  close(): Promise<void>
}

/** Puts the control plane together: signing keys and the first user are there afterwards, and nothing listens yet. */
export async function buildApp(config: Config, deps: AppDeps): Promise<ControlPlane> {
  const { sql, redis, logger, signal } = deps
  const signing = new SigningKeys(sql, deps.keys)
  await signing.ensure()
  await bootstrap({ config, sql, logger })
  const events = await StateEvents.open(sql, logger)
  const refusals = openRefusals(sql, logger, deps.metrics)
  const revocations = new Revocations({ load: () => listRevocations(sql), logger })
  await revocations.start()
  const context: Context = {
    config,
    production: isProduction(config.APP_ENV),
    sql,
    redis,
    logger,
    signing,
    platformCa: deps.platformCa,
    resolver: deps.resolver,
    masterKeys: deps.masterKeys,
    events,
    refusals,
    revocations,
    nowSeconds: deps.nowSeconds ?? (() => Math.floor(Date.now() / 1000)),
    signal,
  }
  const publicApp = await buildPublicApp(context, deps)
  const internalApp = await buildInternalApp(context, deps)
  return {
    context,
    publicApp,
    internalApp,
    ready: async () => ({ postgres: await check(() => sql`select 1`), redis: await check(() => redis.ping()) }),
    startBackground: () => startReaper(context),
    async close() {
      // The public side first: a start that is under way needs the report of its worker, which comes in on the other.
      await publicApp.close()
      await internalApp.close()
      await refusals.close()
      await events.close()
      revocations.close()
    },
  }
}

async function buildPublicApp(ctx: Context, deps: AppDeps): Promise<RapServer> {
  const { config, logger } = ctx
  const app = await buildServer({
    service: 'control-plane',
    logger,
    tls: deps.publicTls,
    metrics: deps.metrics,
    healthRoutes: false,
    bodyLimitBytes: PUBLIC_BODY_LIMIT_BYTES,
    trustProxy: [...config.CONTROL_PLANE_TRUSTED_PROXIES],
    openapi: {
      title: 'RAP control plane',
      description: 'Organizations, resources, sessions and audit. Errors are problem documents (RFC 9457).',
      version: '1',
      securitySchemes: { access_token: { type: 'http', scheme: 'bearer' } },
    },
  })
  await app.register(fastifyCookie as never)
  await app.register(fastifyRateLimit as never, {
    global: false,
    max: config.CONTROL_PLANE_REQUESTS_PER_MINUTE,
    timeWindow: 60_000,
    cache: RATE_LIMIT_ADDRESSES,
    keyGenerator: (request: { ip: string }) => addressKey(request.ip),
    // By the route that matched: the path of a request has many spellings (%76 is v). What matches nothing is counted.
    allowList: (request: FastifyRequest) => request.routeOptions.url?.startsWith('/v1/') === false,
  })
  // In front of everything a route does itself, so that a flood is not authenticated first.
  app.addHook('onRequest', (app as unknown as { rateLimit: () => never }).rateLimit())
  app.addHook('preValidation', refuseBrokenText())
  authRoutes(app, ctx)
  organizationRoutes(app, ctx)
  resourceRoutes(app, ctx)
  targetIdentityRoutes(app, ctx)
  policyRoutes(app, ctx)
  secretRoutes(app, ctx)
  masterKeyRoutes(app, ctx)
  sessionRoutes(app, ctx)
  sessionEventRoutes(app, ctx)
  workerRoutes(app, ctx)
  revocationRoutes(app, ctx)
  auditRoutes(app, ctx)
  trustRoutes(app, ctx)
  trustBundleRoutes(app, ctx, '')
  authorityRoutes(app, ctx)
  identityRoutes(app, ctx)
  enrolmentRoutes(app, ctx)
  if (config.PORTAL_DIR !== undefined) await portalRoutes(app, config.PORTAL_DIR)
  return app
}

async function buildInternalApp(ctx: Context, deps: AppDeps): Promise<RapServer> {
  const app = await buildServer({
    service: 'control-plane',
    logger: ctx.logger,
    tls: deps.internalTls,
    trustDomain: ctx.config.RAP_TRUST_DOMAIN,
    revocations: ctx.revocations,
    onRefusal: auditRevokedPeers(ctx),
    metrics: deps.metrics,
    healthRoutes: false,
    bodyLimitBytes: INTERNAL_BODY_LIMIT_BYTES,
  })
  const identify = deps.identify ?? identifyByCertificate
  app.addHook('preValidation', refuseBrokenText())
  auditForeignPeers(app, ctx, identify)
  internalWorkerRoutes(app, ctx, identify)
  directoryRoutes(app, ctx, identify)
  internalSessionRoutes(app, ctx, identify)
  internalTargetRoutes(app, ctx, identify)
  internalAuditRoutes(app, ctx, identify)
  keySetRoute(app, ctx)
  trustBundleRoutes(app, ctx, '/internal')
  internalIdentityRoutes(app, ctx, identify)
  return app
}

async function check(ask: () => PromiseLike<unknown>): Promise<string> {
  try {
    await ask()
    return 'ok'
  } catch {
    return 'not reachable'
  }
}
