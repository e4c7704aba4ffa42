import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import {
  buildHealthServer,
  connectPostgres,
  connectRedis,
  createMetrics,
  isProduction,
  migrate,
  openPlatformIdentity,
  type RapServer,
  remoteKeySet,
  runService,
} from '@rap/service-kit'
import { buildApp } from './app.ts'
import { checkConfig, configSchema } from './config.ts'
import { openKeys } from './key-sources.ts'
import { Housekeeping } from './master-keys/housekeeping.ts'
import { activateConfigured } from './master-keys/register.ts'
import { isLasting, refuseUnusableKeys } from './master-keys/start-checks.ts'
import { readyCheck } from './readiness.ts'
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
  isConfigError: isLasting,
  logFields: [
    'key_ids',
    'verification',
    // What key sources say about themselves.
    'source',
    'ttl_s',
    'left_s',
    'renewable',
    'retry_after_s',
    'cause_code',
  ],
  main: async ({ config, logger, signal, onShutdown }) => {
    const { ring: keys, reload } = await openKeys(config, logger)
    onShutdown('key ring', () => keys.destroy())

    const sql = connectPostgres(config.DATABASE_URL, { applicationName: SERVICE, max: 20, logger })
    onShutdown('postgres', () => sql.end({ timeout: 5 }))
    await migrate({
      sql,
      directory: join(import.meta.dirname, '../migrations'),
      schemaTable: 'secrets.schema_migrations',
      logger,
    })
    await refuseUnusableKeys({ sql, keys })
    const configuredSource = config.SECRET_ENCRYPTION_KEY_ID
    await activateConfigured(configuredSource, { sql, keys })
    const housekeeping = await Housekeeping.start({ sql, keys, logger, configuredSource, reloadSources: reload })
    onShutdown('housekeeping', () => housekeeping.stop())

    const redis = connectRedis(config.REDIS_URL, { name: SERVICE, logger })
    onShutdown('redis', () => redis.disconnect())
    const now = () => new Date()
    const versionRetentionMs = config.SECRET_VERSION_RETENTION_HOURS * 3600 * 1000
    const sweeper = startSweeper({ sql, now, versionRetentionMs, logger })
    onShutdown('sweeper', sweeper.stop)

    const metrics = createMetrics({ service: SERVICE })
    const identity = await openPlatformIdentity({ config, kind: 'service', id: SERVICE, logger, metrics, signal })
    onShutdown('identity', () => identity.close())
    const ready = readyCheck({ sql, redis, keys })
    const health = await buildHealthServer({
      service: SERVICE,
      logger,
      metrics,
      draining: signal,
      ready: async () => ({ ...(await ready()), identity: identity.status() }),
    })
    onShutdown('health server', () => health.close())
    const app = await buildApp({
      logger,
      metrics,
      tls: identity.material,
      trustDomain: config.RAP_TRUST_DOMAIN,
      sql,
      redis,
      keys,
      versionRetentionMs,
      kickRewrap: () => housekeeping.kickRewrap(),
      tokenKeys: remoteKeySet({ url: config.CONTROL_PLANE_JWKS_URL, tls: () => identity.material, logger }).lookup,
      issuer: config.DATA_PLANE_ISSUER,
      isProduction: isProduction(config.APP_ENV),
      limits: {
        perWorkerPerMinute: config.RESOLVE_LIMIT_PER_WORKER,
        perSessionPerMinute: config.RESOLVE_LIMIT_PER_SESSION,
      },
    })
    identity.onChange(material => app.setTls(material))
    onShutdown('server', () => app.close())
    await health.listen({ host: config.HEALTH_HOST, port: config.HEALTH_PORT })
    await app.listen({ host: config.SECRET_RESOLVER_HOST, port: config.SECRET_RESOLVER_PORT })
    return { internal_url: urlOf(app, 'https'), health_url: urlOf(health, 'http') }
  },
})
