import { isKeyConfigurationError } from '@rap/key-provider'
import {
  buildHealthServer,
  connectPostgres,
  connectRedis,
  createMetrics,
  internalAgent,
  ProblemError,
  type RapServer,
  runService,
  type ServiceContext,
  type TlsMaterial,
  watchTlsFiles,
} from '@rap/service-kit'
import { buildApp } from './app.ts'
import { checkConfig, configSchema } from './config.ts'
import { prepareDatabase } from './database.ts'
import { openKeyWrapping } from './keys/wrapping.ts'
import { HttpMasterKeys } from './master-keys/keeper.ts'
import { readTrustBundle } from './platform-ca/bundle-file.ts'
import { openOwnIdentity } from './platform-ca/own-identity.ts'
import { PlatformCa } from './platform-ca/platform-ca.ts'
import { HttpResolver } from './secrets/resolver.ts'
import { ResolverClient } from './secrets/resolver-client.ts'

await runService({
  name: 'control-plane',
  schema: configSchema,
  check: checkConfig,
  isConfigError: error => isKeyConfigurationError(error) || isUnmanaged(error),
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

  const platformCa = new PlatformCa({
    sql,
    keys,
    trustDomain: config.RAP_TRUST_DOMAIN,
    certificateHours: config.CONTROL_PLANE_CERTIFICATE_HOURS,
    overlapMinutes: config.CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES,
    caRef: config.DATA_PLANE_DIRECT_WORKER_TLS_CA_REF,
    fileBundlePem: () => fileBundlePem,
  })
  let fileBundlePem: string | undefined
  const takeMaterial = (material: TlsMaterial): void => {
    internalApp.setTls(material)
    agent.setTls(material)
    if (publicFiles === undefined) publicApp.setTls(withoutCa(material))
  }
  const { RAP_TLS_CERT_FILE: certFile, RAP_TLS_KEY_FILE: keyFile, RAP_PLATFORM_CA_FILE: caFile } = config
  const own =
    certFile === undefined || keyFile === undefined || caFile === undefined
      ? await openOwnIdentity({ sql, platformCa, names: config.CONTROL_PLANE_NAMES, logger, onChange: takeMaterial })
      : await watchTlsFiles({
          certFile,
          keyFile,
          caFile,
          logger,
          onChange: material => {
            // Before anything is changed: a file with something else than CA certificates leaves all as it was.
            fileBundlePem = readTrustBundle(Buffer.from(material.ca ?? ''))
            takeMaterial(material)
          },
        })
  onShutdown('own-identity', () => own.close())
  const ca = own.material.ca ?? ''
  if (caFile !== undefined) fileBundlePem = readTrustBundle(Buffer.from(ca))
  const { CONTROL_PLANE_TLS_CERT_FILE: publicCertFile, CONTROL_PLANE_TLS_KEY_FILE: publicKeyFile } = config
  const publicFiles =
    publicCertFile === undefined || publicKeyFile === undefined
      ? undefined
      : await watchTlsFiles({
          certFile: publicCertFile,
          keyFile: publicKeyFile,
          logger,
          onChange: material => publicApp.setTls(material),
        })
  if (publicFiles !== undefined) onShutdown('public-tls', () => publicFiles.close())

  const agent = internalAgent({
    ...own.material,
    ca,
    trustDomain: config.RAP_TRUST_DOMAIN,
    expectedIdentity: 'service/secret-resolver',
    isRevoked: peer => controlPlane.context.revocations.isRevoked(peer),
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
    platformCa,
    signal,
    metrics,
    publicTls: publicFiles?.material ?? withoutCa(own.material),
    internalTls: { ...own.material, requireClientCertificate: true },
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

/** The public listener asks nobody for a certificate. */
function withoutCa({ cert, key }: TlsMaterial): TlsMaterial {
  return { cert, key }
}

/** Neither certificates in files nor a platform CA to issue them: an operator has to do one of the two. */
function isUnmanaged(error: unknown): boolean {
  return error instanceof ProblemError && error.code === 'ERR_PLATFORM_CA_UNMANAGED'
}
