import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { KeyRing, openLocalKey } from '@rap/key-provider'
import {
  buildHealthServer,
  connectPostgres,
  connectRedis,
  createMetrics,
  isProduction,
  migrate,
  type RapServer,
  remoteKeySet,
  runService,
  watchTlsFiles,
} from '@rap/service-kit'
import { buildApp } from './app.ts'
import { checkConfig, configSchema } from './config.ts'
import { readyCheck } from './readiness.ts'
import { refuseUnknownKeys, refuseWrongKey } from './start-checks.ts'
import { startSweeper } from './sweeper.ts'

const SERVICE = 'secret-resolver'

function urlOf(app: RapServer, scheme: 'http' | 'https'): string {
  const { address, family, port } = app.server.address() as AddressInfo
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

await runService({
  name: SERVICE,
  schema: configSchema,
  check: checkConfig,
  logFields: ['key_ids', 'verification'],
  main: async ({ config, logger, signal, onShutdown }) => {
    const active = await openLocalKey({
      keyId: config.SECRET_ENCRYPTION_KEY_ID,
      base64: config.SECRET_ENCRYPTION_KEY_B64?.expose(),
      file: config.SECRET_ENCRYPTION_KEY_FILE,
      allowOpenPermissions: config.APP_ENV === 'development',
    })
    config.SECRET_ENCRYPTION_KEY_B64?.destroy()
    const keys = new KeyRing({ active })
    onShutdown('key ring', () => keys.destroy())

    const sql = connectPostgres(config.DATABASE_URL, { applicationName: SERVICE, max: 20, logger })
    onShutdown('postgres', () => sql.end({ timeout: 5 }))
    await migrate({
      sql,
      directory: join(import.meta.dirname, '../migrations'),
      schemaTable: 'secrets.schema_migrations',
      logger,
    })
    await refuseUnknownKeys(sql, keys)
    await refuseWrongKey(sql, keys)

    const redis = connectRedis(config.REDIS_URL, { name: SERVICE, logger })
    onShutdown('redis', () => redis.disconnect())
    const sweeper = startSweeper({ sql, now: () => new Date(), logger })
    onShutdown('sweeper', sweeper.stop)

    let app: RapServer | undefined
    const tls = await watchTlsFiles({
      certFile: config.RAP_TLS_CERT_FILE,
      keyFile: config.RAP_TLS_KEY_FILE,
      caFile: config.RAP_PLATFORM_CA_FILE,
      logger,
      onChange: material => {
        current = material
        app?.setTls(material)
      },
    })
    let current = tls.material
    onShutdown('tls files', tls.close)

    const metrics = createMetrics({ service: SERVICE })
    const health = await buildHealthServer({
      service: SERVICE,
      logger,
      metrics,
      draining: signal,
      ready: readyCheck({ sql, redis, keys }),
    })
    onShutdown('health server', () => health.close())
    app = await buildApp({
      logger,
      metrics,
      tls: current,
      trustDomain: config.RAP_TRUST_DOMAIN,
      sql,
      redis,
      keys,
      tokenKeys: remoteKeySet({ url: config.CONTROL_PLANE_JWKS_URL, tls: () => current, logger }).lookup,
      issuer: config.DATA_PLANE_ISSUER,
      isProduction: isProduction(config.APP_ENV),
      limits: {
        perWorkerPerMinute: config.RESOLVE_LIMIT_PER_WORKER,
        perSessionPerMinute: config.RESOLVE_LIMIT_PER_SESSION,
      },
    })
    onShutdown('server', () => app?.close())
    await health.listen({ host: config.HEALTH_HOST, port: config.HEALTH_PORT })
    await app.listen({ host: config.SECRET_RESOLVER_HOST, port: config.SECRET_RESOLVER_PORT })
    return { internal_url: urlOf(app, 'https'), health_url: urlOf(health, 'http') }
  },
})
