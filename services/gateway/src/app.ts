import fastifyWebsocket from '@fastify/websocket'
import { BIND_TIMEOUT_MS, DATA_PLANE_PATH, MAX_MESSAGE_BYTES } from '@rap/data-plane-protocol'
import {
  type Admission,
  buildServer,
  ConnectionLimits,
  commonProblems,
  type InternalClient,
  type Logger,
  type Metrics,
  type RapServer,
  type RemoteKeySet,
  remoteKeySet,
  type TlsMaterial,
} from '@rap/service-kit'
import type { FastifyRequest } from 'fastify'
import type { Config } from './config.ts'
import { DataPlane } from './data-plane.ts'
import { type GatewayMetrics, gatewayMetrics } from './gateway-metrics.ts'
import { RefusalReporter } from './refusal-reporter.ts'
import { CLOSE_TIMEOUT_MS } from './worker-dial.ts'
import { WorkerDirectory } from './worker-directory.ts'

export interface GatewayDeps {
  readonly config: Config
  readonly logger: Logger
  readonly metrics: Metrics
  /** PEM of the trust bundle in force: whose workers are dialled, and whose control plane is believed. */
  readonly platformCa: () => string | Buffer
  /** Absent for a plain listener on loopback. */
  readonly tls?: TlsMaterial | undefined
  /** Aborted when no further connection is to be taken. */
  readonly draining: AbortSignal
  /** Default: the protocol's own 10 seconds. */
  readonly bindTimeoutMs?: number
  /** PEM of the authorities for workers with public certificates; those of Node.js when absent. */
  readonly publicCa?: string | Buffer
  /** To the control plane's internal listener. */
  readonly controlPlane: Pick<InternalClient, 'request' | 'requestTagged'>
  /** Window of counted refusals, in milliseconds; that of `RefusalAudit` when absent. */
  readonly auditWindowMs?: number
  /** Default: those of the directory, in milliseconds. */
  readonly directoryTimes?: { readonly intervalMs?: number; readonly usableMs?: number }
}

export interface Gateway {
  readonly app: RapServer
  readonly keys: RemoteKeySet
  /** Its polls run from the start of the gateway until it is closed. */
  readonly directory: WorkerDirectory
  /** Waits for live connections to end by themselves, then closes what is left and tells it why. */
  drain(): Promise<void>
}

/** How long clients may take to answer the close of a drain, in milliseconds. */
const DRAIN_CLOSE_MS = 2000
const DRAIN_POLL_MS = 50
const LOOPBACK_PROXIES = ['127.0.0.0/8', '::1']

/** Joins the parts; nothing listens yet. */
export async function buildGateway(deps: GatewayDeps): Promise<Gateway> {
  const { config, logger, draining } = deps
  const metrics = gatewayMetrics(deps.metrics)
  const keys = remoteKeySet({
    url: config.CONTROL_PLANE_JWKS_URL,
    tls: () => ({ ca: deps.platformCa() }),
    logger,
    onFetch: outcome => metrics.keySetFetches.inc({ outcome }),
  })
  const limits = new ConnectionLimits({
    maxConnections: config.GATEWAY_MAX_CONNECTIONS,
    maxUnbound: config.GATEWAY_MAX_UNBOUND_CONNECTIONS,
    maxPerAddress: config.GATEWAY_MAX_CONNECTIONS_PER_ADDRESS,
  })
  const directory = new WorkerDirectory({
    client: deps.controlPlane,
    logger,
    onPoll: outcome => metrics.directoryPolls.inc({ outcome }),
    ...deps.directoryTimes,
  })
  const reporter = new RefusalReporter({
    client: deps.controlPlane,
    logger,
    metrics: deps.metrics,
    onOutcome: outcome => metrics.auditReports.inc({ outcome }),
    windowMs: deps.auditWindowMs,
  })
  const dataPlane = new DataPlane({
    directory,
    keys,
    trust: {
      trustDomain: config.RAP_TRUST_DOMAIN,
      platformCa: deps.platformCa,
      publicCa: () => deps.publicCa,
    },
    issuer: config.DATA_PLANE_ISSUER,
    metrics,
    limits,
    bindTimeoutMs: deps.bindTimeoutMs ?? BIND_TIMEOUT_MS,
    reportRefusal: refused => reporter.report(refused),
  })
  const app = await buildServer({
    service: 'gateway',
    logger,
    tls: deps.tls,
    metrics: deps.metrics,
    healthRoutes: false,
    bodyLimitBytes: 1024,
    trustProxy: [...config.GATEWAY_TRUSTED_PROXIES, ...(config.GATEWAY_PLAINTEXT ? LOOPBACK_PROXIES : [])],
  })
  await app.register(fastifyWebsocket, {
    errorHandler: () => {
      // `ws` closes a socket that had an error by itself, and the close says all that is to be said.
    },
    options: {
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      skipUTF8Validation: true,
      clientTracking: true,
      closeTimeout: CLOSE_TIMEOUT_MS,
    } as object,
  })
  // When the last connection is gone, what is counted of refusals is reported.
  app.addHook('onClose', () => reporter.close())
  addDataPlaneRoute(app, { dataPlane, limits, draining, metrics })
  await directory.start()
  return { app, keys, directory, drain: () => drain(dataPlane, config.GATEWAY_DRAIN_SECONDS * 1000) }
}

interface RouteDeps {
  readonly dataPlane: DataPlane
  readonly limits: ConnectionLimits
  readonly draining: AbortSignal
  readonly metrics: GatewayMetrics
}

function addDataPlaneRoute(app: RapServer, { dataPlane, limits, draining, metrics }: RouteDeps): void {
  const admissions = new WeakMap<FastifyRequest['raw'], Admission>()
  const count = () => {
    metrics.connections.set({ state: 'unbound' }, limits.unbound)
    metrics.connections.set({ state: 'bound' }, limits.connections - limits.unbound)
  }
  app.route({
    method: 'GET',
    url: DATA_PLANE_PATH,
    schema: { hide: true },
    // Refused before the upgrade, so that a refusal costs next to nothing.
    preValidation: async request => {
      if (!request.ws) return
      if (draining.aborted) throw commonProblems.ERR_SHUTTING_DOWN()
      const admission = limits.admit(request.ip)
      if (admission === undefined) {
        metrics.refusals.inc({ reason: 'ERR_RATE_LIMITED' })
        throw commonProblems.ERR_RATE_LIMITED({ facts: { connections: limits.connections, unbound: limits.unbound } })
      }
      admissions.set(request.raw, admission)
      count()
      // Whatever becomes of the upgrade, the stream under it closes in the end.
      request.raw.socket.once('close', () => {
        admission.release()
        count()
      })
    },
    handler: async () => {
      throw commonProblems.ERR_REQUEST_MALFORMED({ detail: 'This address is for WebSocket connections.' })
    },
    wsHandler: (socket, request) => {
      const admission = admissions.get(request.raw)
      if (admission === undefined) return socket.terminate()
      const onVerified = () => {
        admission.bound()
        count()
      }
      const { raw, id: requestId, ip: clientAddress, log } = request
      void dataPlane.serve({ socket, stream: raw.socket, onVerified, logger: log as Logger, requestId, clientAddress })
    },
  })
}

async function drain(dataPlane: DataPlane, patienceMs: number): Promise<void> {
  await emptyWithin(dataPlane, patienceMs)
  for (const live of dataPlane.live) live.close('ERR_GATEWAY_DRAINING')
  await emptyWithin(dataPlane, DRAIN_CLOSE_MS)
  for (const live of dataPlane.live) live.terminate()
}

async function emptyWithin(dataPlane: DataPlane, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs
  while (dataPlane.live.size > 0 && performance.now() < deadline) {
    await new Promise(resolve => setTimeout(resolve, DRAIN_POLL_MS))
  }
}
