import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  type FastifyServerOptions,
  LogController,
} from 'fastify'
import { endConnectionsOnClose } from './drain.ts'
import { commonProblems } from './errors.ts'
import { addHealthRoutes, type ReadyCheck } from './health.ts'
import type { Logger } from './log.ts'
import { describeUrl } from './log-serializers.ts'
import type { Metrics } from './metrics.ts'
import { addOpenApi, type OpenApiOptions } from './openapi.ts'
import { type ErrorMapper, problemHandler, type RefusalHook } from './problem-handler.ts'
import { type Revocations, refuseRevoked } from './revocations.ts'
import { routeTable } from './route-table.ts'
import { addSecurityHeaders, setSecurityHeaders } from './security-headers.ts'
import { MUTUAL_TLS_DEFAULTS, TLS_DEFAULTS, type TlsMaterial } from './tls.ts'
import { continueTrace, type TraceContext } from './trace.ts'
import { buildValidator } from './validation.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Trust domain whose client certificates this server believes; see `peerIdentity`. */
    readonly trustDomain: string | undefined
    /** New connections get this certificate; open ones stay. Throws when the server has no TLS or the material is wrong. */
    setTls(material: TlsMaterial): void
  }
  interface FastifyRequest {
    readonly trace: TraceContext
  }
}

/** A Fastify server whose routes take TypeBox schemas. */
export type RapServer = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>

export interface ServerTls extends TlsMaterial {
  /**
   * `true`: a handshake without a certificate from `ca` fails. `'optional'`: a certificate is asked for and checked by
   * `requireIdentity` on the routes that need one. Absent or `false`: none is asked for.
   */
  requireClientCertificate?: boolean | 'optional'
}

export interface ServerOptions {
  service: string
  logger: Logger
  tls?: ServerTls | undefined
  trustDomain?: string | undefined
  /** Peers that are refused on every route although their certificates are valid. */
  revocations?: Revocations | undefined
  openapi?: OpenApiOptions | undefined
  /** Largest body in bytes; 64 KiB when absent. */
  bodyLimitBytes?: number
  ready?: ReadyCheck
  metrics?: Metrics | undefined
  /** Put `/healthz`, `/readyz` and `/metrics` on this server; public servers say `false` and use `buildHealthServer`. */
  healthRoutes?: boolean
  draining?: AbortSignal
  /** Turns errors of domain packages into problems; called for everything that is not a ProblemError yet. */
  mapError?: ErrorMapper
  /** Called before the answer when a ProblemError with `audit` leaves a route. */
  onRefusal?: RefusalHook
  /** Addresses of proxies whose X-Forwarded-* headers are believed; none when absent. */
  trustProxy?: string[]
  /** Longest time from the first byte of a request to its end, in milliseconds. */
  requestTimeoutMs?: number
}

const DEFAULT_BODY_LIMIT_BYTES = 64 * 1024
const DEFAULT_REQUEST_TIMEOUT_MS = 30_000
/** Silence on a connection after which it is closed; longer than any long poll of ours. */
const CONNECTION_TIMEOUT_MS = 120_000
const KEEP_ALIVE_TIMEOUT_MS = 65_000
const HEADERS_TIMEOUT_MS = 15_000
/** How often Node looks for requests that are too slow. */
const TIMEOUT_CHECK_MS = 2000
const MAX_HEADER_BYTES = 16 * 1024
const MAX_HEADERS = 100
const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/

/** A caller's request id is kept when it is in form, so that one id follows a call through all services. */
function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}

const traces = new WeakMap<IncomingMessage, TraceContext>()

function traceOf(request: IncomingMessage): TraceContext {
  let trace = traces.get(request)
  if (trace === undefined) {
    trace = continueTrace(request.headers.traceparent)
    traces.set(request, trace)
  }
  return trace
}

const BROKEN_REQUESTS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/**
 * Bytes that are not HTTP get a short answer and are never logged: the parser's error carries the raw packet. A TLS handshake that fails, or does
 * not end in time, gets none: an answer would wait for its end, and hold the connection for ever.
 */
function answerBrokenConnection(logger: Logger) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    const { code = '' } = error
    if (code === 'ECONNRESET' || socket.destroyed) return
    const status = BROKEN_REQUESTS[code] ?? (code.startsWith('HPE_') ? '400 Bad Request' : undefined)
    logger.debug({ event: 'connection_malformed', code, status }, 'connection carried no valid request')
    if (status === undefined || !socket.writable) socket.destroy()
    else socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
  }
}

function tlsOptions(tls: ServerTls) {
  const { requireClientCertificate = false, ...material } = tls
  // Node would fall back to the public authorities, and any of their customers could come in.
  if (requireClientCertificate !== false && !material.ca) throw new TypeError('client certificates need a trust bundle')
  return {
    ...(requireClientCertificate === false ? TLS_DEFAULTS : MUTUAL_TLS_DEFAULTS),
    ...material,
    requestCert: requireClientCertificate !== false,
    rejectUnauthorized: requireClientCertificate === true,
    handshakeTimeout: 10_000,
  }
}

function frameworkOptions(options: ServerOptions): FastifyServerOptions {
  const onProblem = problemHandler({})
  return {
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    bodyLimit: options.bodyLimitBytes ?? DEFAULT_BODY_LIMIT_BYTES,
    requestIdHeader: false,
    genReqId: requestIdOf,
    childLoggerFactory: (logger, bindings, childOptions, request) => {
      const { traceId, spanId } = traceOf(request as IncomingMessage)
      return logger.child({ ...bindings, trace_id: traceId, span_id: spanId }, childOptions as object)
    },
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    trustProxy: options.trustProxy ?? false,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    schemaController: { compilersFactory: { buildValidator: buildValidator as never } },
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: (error, request, reply) => {
      // The router refuses these before any hook runs.
      setSecurityHeaders(reply as never, { hasTls: options.tls !== undefined })
      reply.header('x-request-id', request.id)
      void onProblem(error, request as never, reply as never)
    },
    clientErrorHandler: answerBrokenConnection(options.logger),
  }
}

function createFastify(options: ServerOptions): RapServer {
  const common = frameworkOptions(options)
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    // Node swaps the two limits when this one is the longer.
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS),
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
  }
  if (options.tls === undefined) return fastify({ ...common, http: limits }) as unknown as RapServer
  return fastify({ ...common, https: { ...limits, ...tlsOptions(options.tls) } } as never) as unknown as RapServer
}

function addTlsReload(app: RapServer, tls: ServerTls | undefined): void {
  let current = tls
  app.decorate('setTls', ({ cert, key, ca = current?.ca }: TlsMaterial) => {
    if (current === undefined) throw new TypeError('server has no TLS')
    const next = { ...current, cert, key, ca }
    ;(app.server as unknown as HttpsServer).setSecureContext(tlsOptions(next) as never)
    current = next
  })
}

function addRequestLog(app: RapServer, metrics: Metrics | undefined): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unmatched'
    const { path } = describeUrl(request.url)
    metrics?.httpRequestSeconds.observe(
      { method: request.method, route, status: String(reply.statusCode) },
      reply.elapsedTime / 1000,
    )
    request.log.info(
      {
        event: 'http_request',
        method: request.method,
        route,
        path,
        status: reply.statusCode,
        duration_ms: Math.round(reply.elapsedTime * 10) / 10,
        client_address: request.ip,
      },
      'http request',
    )
  })
}

/**
 * The HTTP server that every service starts with.
 *
 * Unknown body and query fields are refused, bodies are never coerced, every error is a problem document (RFC 9457)
 * with a request id, and nothing internal is in an answer. Await it before adding routes.
 */
export async function buildServer(options: ServerOptions): Promise<RapServer> {
  const { tls, metrics, healthRoutes = true } = options
  const app = createFastify(options)
  app.server.maxHeadersCount = MAX_HEADERS
  app.decorate('trustDomain', options.trustDomain)
  app.decorateRequest('trace', {
    getter(this: FastifyRequest) {
      return traceOf(this.raw)
    },
  } as never)
  addTlsReload(app, tls)
  // JSON is the only body that a route takes unless it adds a parser of its own.
  app.removeContentTypeParser('text/plain')
  const routes = routeTable(app as never)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  addSecurityHeaders(app as never, { hasTls: tls !== undefined })
  addRequestLog(app, metrics)
  refuseRevoked(app as never, options.revocations)
  endConnectionsOnClose(app as never)
  app.setErrorHandler(problemHandler(options) as never)
  app.setNotFoundHandler(async (request, reply) => {
    const allowed = routes.methodsFor(request.url)
    if (allowed.length === 0) throw commonProblems.ERR_NOT_FOUND()
    reply.header('allow', allowed.join(', '))
    throw commonProblems.ERR_METHOD_NOT_ALLOWED({ facts: { method: request.method } })
  })
  if (options.openapi !== undefined) await addOpenApi(app as never, options.openapi)
  if (healthRoutes) {
    addHealthRoutes(app as never, { ready: options.ready ?? (async () => ({})), metrics, draining: options.draining })
  }
  return app
}

export type HealthServerOptions = Pick<ServerOptions, 'service' | 'logger' | 'metrics' | 'draining'> & {
  ready: ReadyCheck
}

/** A server with nothing but `/healthz`, `/readyz` and `/metrics`, for a private address; plain HTTP. */
export function buildHealthServer(options: HealthServerOptions): Promise<RapServer> {
  return buildServer({ ...options, bodyLimitBytes: 1024 })
}
