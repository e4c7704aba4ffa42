import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { buildHealthServer, connectRedis, createMetrics, runService, watchTlsFiles } from '@rap/service-kit'
import { buildGateway } from './app.ts'
import { checkConfig, configSchema, publicTlsFiles } from './config.ts'
import { controlPlaneClient } from './control-plane-client.ts'

/** A drain may take its whole configured time, which is at most five minutes, in milliseconds. */
const SHUTDOWN_TIMEOUT_MS = 330_000

await runService({
  name: 'gateway',
  schema: configSchema,
  check: checkConfig,
  logFields: ['finding', 'ended_by', 'plaintext'],
  shutdownTimeoutMs: SHUTDOWN_TIMEOUT_MS,
  main: async ({ config, logger, signal, onShutdown }) => {
    const metrics = createMetrics({ service: 'gateway' })
    const redis = connectRedis(config.REDIS_URL, { name: 'rap-gateway', logger })
    onShutdown('redis', () => redis.disconnect())

    const files = config.GATEWAY_PLAINTEXT ? undefined : publicTlsFiles(config)
    const watched =
      files === undefined
        ? undefined
        : await watchTlsFiles({ ...files, logger, onChange: material => gateway.app.setTls(material) })
    if (watched !== undefined) onShutdown('tls files', watched.close)
    if (config.GATEWAY_PLAINTEXT) {
      logger.warn(
        { event: 'gateway_plaintext', plaintext: true, host: config.GATEWAY_HOST },
        'public listener speaks plain HTTP on loopback; a front on this machine must end TLS',
      )
    }
    const controlPlane = await controlPlaneClient(config, logger, onShutdown)
    const gateway = await buildGateway({
      config,
      logger,
      redis,
      metrics,
      tls: watched?.material,
      draining: signal,
      controlPlane,
    })

    const health = await buildHealthServer({
      service: 'gateway',
      logger,
      metrics,
      draining: signal,
      ready: async () => ({
        redis: (await redis.ping()) === 'PONG' ? 'ok' : 'not ready',
        verification_keys: (await gateway.keys.ready()) ? 'ok' : 'not fetched',
      }),
    })
    onShutdown('health', () => health.close())
    const healthUrl = await health.listen({ host: config.HEALTH_HOST, port: config.HEALTH_PORT })

    onShutdown('listener', () => gateway.app.close())
    onShutdown('drain', () => gateway.drain())
    const address = await gateway.app.listen({ host: config.GATEWAY_HOST, port: config.GATEWAY_PORT })
    const publicUrl = config.GATEWAY_PUBLIC_URL ?? `${address.replace(/^http/, 'ws')}${DATA_PLANE_PATH}`
    return { public_url: publicUrl, listeners: [address], health_url: healthUrl }
  },
})
