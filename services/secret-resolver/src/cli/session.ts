import { hostname, userInfo } from 'node:os'
import type { KeyRing } from '@rap/key-provider'
import { connectPostgres, Env, loadConfig, type Sql, secretVariables } from '@rap/service-kit'
import type { Output } from '@rap/tool-kit'
import { Type } from '@sinclair/typebox'
import { checkKeyConfig, keyFields, openKeys } from '../key-sources.ts'
import type { KeyActor } from '../master-keys/audit.ts'

/** The part of the secret-resolver's environment that its tool needs. */
const toolSchema = Type.Object({
  APP_ENV: Env.appEnv(),
  DATABASE_URL: Env.url({
    description: 'Postgres, as the role that owns the schema `secrets`',
    protocols: ['postgres:', 'postgresql:'],
    secret: true,
  }),
  ...keyFields,
})

export interface ToolSession {
  readonly sql: Sql
  readonly keys: KeyRing
  readonly actor: KeyActor
}

/**
 * Opens the database and the key sources for one command, and closes them after it. Secrets are taken out of `env`.
 * Throws ConfigError, KeyProviderError, and what the command throws.
 */
export async function withSession<T>(
  { env, output }: { env: Record<string, string | undefined>; output: Output },
  command: (session: ToolSession) => Promise<T>,
): Promise<T> {
  const config = loadConfig(toolSchema, env, { check: checkKeyConfig })
  for (const variable of secretVariables(toolSchema)) delete env[variable]
  const { ring: keys } = await openKeys(config, {
    info: () => {},
    warn: (_fields, message) => output.warn(message),
  })
  const sql = connectPostgres(config.DATABASE_URL, { applicationName: 'rap-secrets', max: 4 })
  const { username } = userInfo()
  const actor: KeyActor = { actor: { kind: 'system', id: `rap-secrets:${username}@${hostname()}` } }
  try {
    return await command({ sql, keys, actor })
  } finally {
    keys.destroy()
    await sql.end({ timeout: 5 })
  }
}
