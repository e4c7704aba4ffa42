import {
  buildHealthServer,
  connectRedis,
  createMetrics,
  openPlatformIdentity,
  runService,
  watchTlsFiles,
} from '@rap/service-kit'
import { VerificationKeyError } from '@rap/token-claims'
import { startWorker } from './app.ts'
import { checkConfig, configSchema, dataPlaneTlsFiles } from './config.ts'
import { UploadDirError } from './uploads/upload-dir.ts'

/** A drain may take its whole configured time, which is at most an hour, in milliseconds. */
const SHUTDOWN_TIMEOUT_MS = 3_630_000

await runService({
  name: 'rdp-worker',
  schema: configSchema,
  check: checkConfig,
  logFields: ['relay_event', 'to_client_bytes', 'to_target_bytes', 'paused_count', 'refused_channels', 'withheld'],
  isConfigError: error => error instanceof VerificationKeyError || error instanceof UploadDirError,
  shutdownTimeoutMs: SHUTDOWN_TIMEOUT_MS,
  main: async ({ config, logger, signal, onShutdown }) => {
    const metrics = createMetrics({ service: 'rdp-worker' })
    const connect = (name: string) => connectRedis(config.REDIS_URL, { name: `rap-rdp-worker-${name}`, logger })
    const redis = { commands: connect('commands'), stream: connect('stream'), subscription: connect('subscription') }
    onShutdown('redis', () => {
      for (const connection of Object.values(redis)) connection.disconnect()
    })
    const id = config.RDP_WORKER_ID
    const identity = await openPlatformIdentity({ config, kind: 'worker', id, logger, metrics, signal })
    onShutdown('identity', () => identity.close())
    const files = dataPlaneTlsFiles(config)
    if (files !== undefined) {
      const watched = await watchTlsFiles({ ...files, logger, onChange: () => worker.reloadDataPlaneTls() })
      onShutdown('data-plane certificate', watched.close)
    }
    const worker = await startWorker({ config, logger, metrics, redis, identity, signal })
    const health = await buildHealthServer({
      service: 'rdp-worker',
      logger,
      metrics,
      draining: signal,
      ready: () => worker.ready(),
    })
    // Closed last: a drain is watched through it.
    onShutdown('health', () => health.close())
    onShutdown('drain', () => worker.drain())
    const healthUrl = await health.listen({ host: config.HEALTH_HOST, port: config.HEALTH_PORT })
    return {
      public_url: config.RDP_WORKER_PUBLIC_URL,
      listeners: [`wss://${config.RDP_WORKER_HOST}:${worker.port}`],
      health_url: healthUrl,
    }
  },
})
