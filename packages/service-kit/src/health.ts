import type { FastifyInstance } from 'fastify'
import type { Metrics } from './metrics.ts'

/** Each named check answers `ok` or says in a few words what is wrong. */
export type ReadyCheck = () => Promise<Record<string, string>>

interface HealthOptions {
  ready: ReadyCheck
  metrics?: Metrics | undefined
  /** Aborted when the service starts to drain; from then on `/readyz` answers 503. */
  draining?: AbortSignal | undefined
}

/** Longest time that the checks may take, in milliseconds. */
const READY_TIMEOUT_MS = 3000
/** An answer is reused for this long, so that polling `/readyz` cannot load Postgres or Redis. */
const READY_CACHE_MS = 1000

interface Readiness {
  readonly isReady: boolean
  readonly checks: Record<string, string>
}

function boundedCheck(ready: ReadyCheck): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<Record<string, string>>(resolve => {
    timer = setTimeout(() => resolve({ checks: 'timed out' }), READY_TIMEOUT_MS)
  })
  return Promise.race([ready(), timeout])
    .catch(() => ({ checks: 'failed' }))
    .then(checks => ({ checks, isReady: Object.values(checks).every(result => result === 'ok') }))
    .finally(() => clearTimeout(timer))
}

/** `ready` with a time limit, one run at a time and a short memory. */
export function cachedReadiness(ready: ReadyCheck): () => Promise<Readiness> {
  let running: Promise<Readiness> | undefined
  let last: { readonly at: number; readonly result: Readiness } | undefined
  return () => {
    if (last !== undefined && performance.now() - last.at < READY_CACHE_MS) return Promise.resolve(last.result)
    running ??= boundedCheck(ready).then(result => {
      last = { at: performance.now(), result }
      running = undefined
      return result
    })
    return running
  }
}

/** Adds `/healthz` (the process lives), `/readyz` (it can do its work) and `/metrics` (Prometheus text). */
export function addHealthRoutes(app: FastifyInstance, { ready, metrics, draining }: HealthOptions): void {
  const readiness = cachedReadiness(ready)
  const options = { schema: { hide: true } as object, logLevel: 'warn' as const }
  app.get('/healthz', options, async () => ({ status: 'ok' }))
  app.get('/readyz', options, async (_request, reply) => {
    if (draining?.aborted === true) return reply.code(503).send({ status: 'draining' })
    const { isReady, checks } = await readiness()
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ok' : 'not_ready', checks })
  })
  if (metrics === undefined) return
  app.get('/metrics', options, async (_request, reply) => {
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics())
  })
}
