import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import {
  buildHealthServer,
  createMetrics,
  openPlatformIdentity,
  runService,
  type TlsMaterial,
  watchTlsFiles,
} from '@rap/service-kit'
import { buildGateway } from './app.ts'
import { checkConfig, configSchema, ownTlsFiles } from './config.ts'
import { controlPlaneClient } from './control-plane-client.ts'

/** A drain may take its whole configured time, which is at most five minutes, in milliseconds. */
const SHUTDOWN_TIMEOUT_MS = 330_000

/** The public listener asks nobody for a certificate, so it has no use for the trust bundle. */
const publicOnly = ({ cert, key }: TlsMaterial): TlsMaterial => ({ cert, key })

await runService({
  name: 'gateway',
  schema: configSchema,
  check: checkConfig,
  logFields: ['finding', 'ended_by', 'plaintext'],
  shutdownTimeoutMs: SHUTDOWN_TIMEOUT_MS,
  main: async ({ config, logger, signal, onShutdown }) => {
    const metrics = createMetrics({ service: 'gateway' })
    const identity = await openPlatformIdentity({ config, kind: 'service', id: 'gateway', logger, metrics, signal })
    onShutdown('identity', () => identity.close())
    const files = config.GATEWAY_PLAINTEXT ? undefined : ownTlsFiles(config)
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
    const controlPlane = controlPlaneClient(config, identity, logger, onShutdown)
    const gateway = await buildGateway({
      config,
      logger,
      metrics,
      platformCa: () => identity.material.ca,
      tls: config.GATEWAY_PLAINTEXT ? undefined : (watched?.material ?? publicOnly(identity.material)),
      draining: signal,
      controlPlane,
    })
    if (!config.GATEWAY_PLAINTEXT && watched === undefined) {
      identity.onChange(material => gateway.app.setTls(publicOnly(material)))
    }

    onShutdown('worker directory', () => gateway.directory.close())

    const health = await buildHealthServer({
      service: 'gateway',
      logger,
      metrics,
      draining: signal,
      ready: async () => ({
        identity: identity.status(),
        workers: gateway.directory.status(),
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
