import { hostname, userInfo } from 'node:os'
import {
  appendAuditEvent,
  connectPostgres,
  createLogger,
  loadConfig,
  type Sql,
  secretVariables,
} from '@rap/service-kit'
import type { Output } from '@rap/tool-kit'
import { Type } from '@sinclair/typebox'
import type { EventBy } from '../audit/write.ts'
import { configSchema } from '../config.ts'
import { prepareDatabase } from '../database.ts'
import { openKeyWrapping } from '../keys/wrapping.ts'
import { PlatformCa } from '../platform-ca/platform-ca.ts'
import type { CaDeps } from '../platform-ca/rotation.ts'

/** The part of the control plane's environment that its tool needs. */
const toolSchema = Type.Pick(configSchema, [
  'APP_ENV',
  'RAP_TRUST_DOMAIN',
  'DATABASE_URL',
  'CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE',
  'CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_ID',
  'CONTROL_PLANE_KEY_PROVIDERS_FILE',
  'CONTROL_PLANE_KEY_PROVIDER',
  'CONTROL_PLANE_CERTIFICATE_HOURS',
  'CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES',
])

export interface ToolSession {
  readonly sql: Sql
  readonly platformCa: PlatformCa
  readonly steps: CaDeps
  readonly trustDomain: string
  /** Appends to the audit as this tool. */
  readonly record: CaDeps['record']
}

/**
 * Opens the database, made and up to date, and the key providers for one command, and closes them after it.
 * Throws ConfigError, KeyProviderError, and what the command throws.
 */
export async function withSession<T>(
  { env, output }: { env: Record<string, string | undefined>; output: Output },
  command: (session: ToolSession) => Promise<T>,
): Promise<T> {
  const config = loadConfig(toolSchema, env)
  for (const variable of secretVariables(toolSchema)) delete env[variable]
  const keys = await openKeyWrapping(config, { info: () => {}, warn: (_fields, message) => output.warn(message) })
  const sql = connectPostgres(config.DATABASE_URL, { applicationName: 'rap-pki', max: 2 })
  const actor = { kind: 'system' as const, id: `rap-pki:${userInfo().username}@${hostname()}` }
  const record = async (tx: Parameters<CaDeps['record']>[0], event: EventBy): Promise<void> => {
    await appendAuditEvent(tx, { ...event, outcome: event.outcome ?? 'ok', actor })
  }
  try {
    await prepareDatabase(sql, createLogger({ service: 'rap-pki', level: 'error' }))
    const platformCa = new PlatformCa({
      sql,
      keys,
      trustDomain: config.RAP_TRUST_DOMAIN,
      certificateHours: config.CONTROL_PLANE_CERTIFICATE_HOURS,
      overlapMinutes: config.CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES,
      caRef: undefined,
      fileBundlePem: () => undefined,
    })
    const { RAP_TRUST_DOMAIN: trustDomain } = config
    return await command({ sql, platformCa, steps: platformCa.steps(record), trustDomain, record })
  } finally {
    keys.destroy()
    await sql.end({ timeout: 5 })
  }
}
