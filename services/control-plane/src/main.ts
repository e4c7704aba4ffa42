import { readFile } from 'node:fs/promises'
import { isKeyConfigurationError } from '@rap/key-provider'
import {
  buildHealthServer,
  connectPostgres,
  connectRedis,
  createMetrics,
  internalAgent,
  type RapServer,
  runService,
  type ServiceContext,
  watchTlsFiles,
} from '@rap/service-kit'
import { buildApp } from './app.ts'
import { checkConfig, configSchema } from './config.ts'
import { prepareDatabase } from './database.ts'
import { openKeyWrapping } from './keys/wrapping.ts'
import { HttpMasterKeys } from './master-keys/keeper.ts'
import { readTrustBundle } from './platform-ca/bundle-file.ts'
import { HttpResolver } from './secrets/resolver.ts'
import { ResolverClient } from './secrets/resolver-client.ts'

await runService({
  name: 'control-plane',
  schema: configSchema,
  check: checkConfig,
  isConfigError: isKeyConfigurationError,
  // A start may wait for its worker when the stop comes; afterwards connections are closed.
  shutdownTimeoutMs: 35_000,
  main,
})

async function main({ config, logger, signal, onShutdown }: ServiceContext<typeof configSchema>) {
  const metrics = createMetrics({ service: 'control-plane' })
  const sql = connectPostgres(config.DATABASE_URL, {
    max: config.DATABASE_POOL_SIZE,
    applicationName: 'rap-control-plane',
    logger,
  })
  onShutdown('postgres', () => sql.end({ timeout: 5 }))
  await prepareDatabase(sql, logger)

  const redis = connectRedis(config.REDIS_URL, { name: 'rap-control-plane', logger })
  onShutdown('redis', () => redis.disconnect())

  const keys = await openKeyWrapping(config, logger)
  onShutdown('keys', () => keys.destroy())

  const ca = await readFile(config.RAP_PLATFORM_CA_FILE)
  const platform = {
    certFile: config.RAP_TLS_CERT_FILE,
    keyFile: config.RAP_TLS_KEY_FILE,
    caFile: config.RAP_PLATFORM_CA_FILE,
  }
  const internal = await watchTlsFiles({
    ...platform,
    logger,
    onChange: material => {
      internalApp.setTls(material)
      agent.setTls(material)
    },
  })
  onShutdown('internal-tls', () => internal.close())
  const open = await watchTlsFiles({
    certFile: config.CONTROL_PLANE_TLS_CERT_FILE ?? platform.certFile,
    keyFile: config.CONTROL_PLANE_TLS_KEY_FILE ?? platform.keyFile,
    logger,
    onChange: material => publicApp.setTls(material),
  })
  onShutdown('public-tls', () => open.close())

  const agent = internalAgent({
    ...internal.material,
    ca,
    trustDomain: config.RAP_TRUST_DOMAIN,
    expectedIdentity: 'service/secret-resolver',
  })
  onShutdown('resolver-agent', () => agent.close())
  const resolver = new ResolverClient({ baseUrl: config.SECRET_RESOLVER_URL, agent, logger })

  const controlPlane = await buildApp(config, {
    sql,
    redis,
    logger,
    keys,
    resolver: new HttpResolver(resolver),
    masterKeys: new HttpMasterKeys(resolver),
    trustBundlePem: readTrustBundle(ca),
    signal,
    metrics,
    publicTls: open.material,
    internalTls: { ...internal.material, requireClientCertificate: true },
  })
  const { publicApp, internalApp } = controlPlane
  onShutdown('servers', () => controlPlane.close())
  onShutdown('background', controlPlane.startBackground())
  const health = await buildHealthServer({
    service: 'control-plane',
    logger,
    metrics,
    draining: signal,
    ready: controlPlane.ready,
  })
  onShutdown('health', () => health.close())

  return {
    public_url: await listen(publicApp, config.CONTROL_PLANE_HOST, config.CONTROL_PLANE_PORT),
    internal_url: await listen(internalApp, config.CONTROL_PLANE_INTERNAL_HOST, config.CONTROL_PLANE_INTERNAL_PORT),
    health_url: await listen(health, config.HEALTH_HOST, config.HEALTH_PORT),
  }
}

async function listen(app: RapServer, host: string, port: number): Promise<string> {
  return await app.listen({ host, port })
}
