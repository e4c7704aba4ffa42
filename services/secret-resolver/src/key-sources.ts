import {
  ConfiguredSources,
  KeyRing,
  type KeySource,
  openLocalKey,
  type SourceLogger,
  singleKeySource,
} from '@rap/key-provider'
import { Env, type Secret } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'

/** Where the master keys are; the service and `rap-secrets` share these. */
export const keyFields = {
  SECRET_ENCRYPTION_KEY_B64: Type.Optional(
    Env.secret({ description: 'A 256-bit master key in base64; or SECRET_ENCRYPTION_KEY_FILE', maxLength: 128 }),
  ),
  SECRET_ENCRYPTION_KEY_FILE: Type.Optional(
    Env.path({ description: 'File with a 256-bit master key; or SECRET_ENCRYPTION_KEY_B64' }),
  ),
  SECRET_KEY_PROVIDERS_FILE: Type.Optional(
    Env.path({
      description: 'File that names further keys: in files, in Vault or OpenBao, in an HSM, in AWS KMS',
      example: '/etc/rap/key-providers.json',
    }),
  ),
  SECRET_ENCRYPTION_KEY_ID: Env.string({
    description:
      'Name of the master key that wraps new secrets; of SECRET_ENCRYPTION_KEY_*, or of a key of SECRET_KEY_PROVIDERS_FILE',
    pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$',
  }),
}

export interface KeyConfig {
  readonly APP_ENV: string
  readonly SECRET_ENCRYPTION_KEY_B64?: Secret | undefined
  readonly SECRET_ENCRYPTION_KEY_FILE?: string | undefined
  readonly SECRET_KEY_PROVIDERS_FILE?: string | undefined
  readonly SECRET_ENCRYPTION_KEY_ID: string
}

/** Rules between the variables of `keyFields`: a start needs key material, and from one place for one name. */
export function checkKeyConfig(config: KeyConfig, problem: (variable: string, message: string) => void): void {
  const { SECRET_ENCRYPTION_KEY_B64: text, SECRET_ENCRYPTION_KEY_FILE: file } = config
  if (text !== undefined && file !== undefined) {
    problem('SECRET_ENCRYPTION_KEY_FILE', 'only one of this and SECRET_ENCRYPTION_KEY_B64 may be set')
  }
  if (text === undefined && file === undefined && config.SECRET_KEY_PROVIDERS_FILE === undefined) {
    problem(
      'SECRET_ENCRYPTION_KEY_FILE',
      'exactly one of this and SECRET_ENCRYPTION_KEY_B64 must be set, or SECRET_KEY_PROVIDERS_FILE',
    )
  }
}

export interface OpenKeys {
  readonly ring: KeyRing
  /** Reads SECRET_KEY_PROVIDERS_FILE again into the ring. Throws KeyProviderError and leaves the ring as it was. */
  reload(): Promise<void>
}

/**
 * Opens every configured key source. The key of SECRET_ENCRYPTION_KEY_B64 is not in the config afterwards.
 * Throws KeyProviderError for a source that is configured wrongly; a source that is only away now is opened.
 */
export async function openKeys(config: KeyConfig, logger: SourceLogger): Promise<OpenKeys> {
  const isDevelopment = config.APP_ENV === 'development'
  const own = await openOwnKey(config, isDevelopment)
  const path = config.SECRET_KEY_PROVIDERS_FILE
  const configured = path === undefined ? undefined : new ConfiguredSources(path, { isDevelopment, logger })
  const all = async () => [...own, ...((await configured?.load()) ?? [])]
  const ring = new KeyRing(await all())
  return { ring, reload: async () => ring.replaceSources(await all()) }
}

async function openOwnKey(config: KeyConfig, allowOpenPermissions: boolean): Promise<KeySource[]> {
  const { SECRET_ENCRYPTION_KEY_B64: text, SECRET_ENCRYPTION_KEY_FILE: file } = config
  if (text === undefined && file === undefined) return []
  const keyId = config.SECRET_ENCRYPTION_KEY_ID
  const key = await openLocalKey({ keyId, base64: text?.expose(), file, allowOpenPermissions })
  text?.destroy()
  return [singleKeySource(key)]
}
