import { Env, healthFields, identityFields, issuerField, platformFields } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'

/** The environment of the secret-resolver; `docs/operations/configuration.md` is generated from it. */
export const configSchema = Type.Object({
  ...platformFields,
  ...identityFields,
  ...issuerField,
  ...healthFields(9444),
  SECRET_RESOLVER_HOST: Env.string({ description: 'Address that the HTTPS listener binds to', default: '127.0.0.1' }),
  SECRET_RESOLVER_PORT: Env.port({ description: 'Port of the HTTPS listener', default: 8445 }),
  DATABASE_URL: Env.url({
    description: 'Postgres, as the role that owns the schema `secrets`',
    protocols: ['postgres:', 'postgresql:'],
    secret: true,
  }),
  REDIS_URL: Env.url({
    description: 'Redis with the leases of the workers',
    protocols: ['redis:', 'rediss:'],
    secret: true,
  }),
  CONTROL_PLANE_JWKS_URL: Env.url({
    description: 'Public signing keys of the control plane',
    example: 'https://control-plane.rap.internal:8443/.well-known/jwks.json',
  }),
  SECRET_ENCRYPTION_KEY_B64: Type.Optional(
    Env.secret({ description: 'The 256-bit master key in base64; or SECRET_ENCRYPTION_KEY_FILE', maxLength: 128 }),
  ),
  SECRET_ENCRYPTION_KEY_FILE: Type.Optional(
    Env.path({ description: 'File with the 256-bit master key; or SECRET_ENCRYPTION_KEY_B64' }),
  ),
  SECRET_ENCRYPTION_KEY_ID: Env.string({
    description: 'Name of the master key; stored with every secret that it protects',
    pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$',
  }),
  RESOLVE_LIMIT_PER_WORKER: Env.integer({
    description: 'Resolves of one worker in a minute, refused ones included',
    min: 1,
    max: 1_000_000,
    default: 600,
  }),
  RESOLVE_LIMIT_PER_SESSION: Env.integer({
    description: 'Resolves for one session in a minute, refused ones included',
    min: 1,
    max: 1_000_000,
    default: 30,
  }),
})
export type Config = Readonly<Static<typeof configSchema>>

/** Rules between variables. */
export function checkConfig(config: Config, problem: (variable: string, message: string) => void): void {
  const { SECRET_ENCRYPTION_KEY_B64: text, SECRET_ENCRYPTION_KEY_FILE: file } = config
  if ((text === undefined) === (file === undefined)) {
    problem('SECRET_ENCRYPTION_KEY_FILE', 'exactly one of this and SECRET_ENCRYPTION_KEY_B64 must be set')
  }
}
