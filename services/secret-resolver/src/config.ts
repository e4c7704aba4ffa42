import { checkIdentityConfig, Env, healthFields, identityFields, issuerField, platformFields } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { checkKeyConfig, keyFields } from './key-sources.ts'

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
  CONTROL_PLANE_INTERNAL_URL: Type.Optional(
    Env.url({
      description: 'Internal listener of the control plane, where an enrolled identity is renewed',
      example: 'https://control-plane.rap.internal:8444',
    }),
  ),
  CONTROL_PLANE_JWKS_URL: Env.url({
    description: 'Public signing keys of the control plane',
    example: 'https://control-plane.rap.internal:8443/.well-known/jwks.json',
  }),
  ...keyFields,
  SECRET_VERSION_RETENTION_HOURS: Env.integer({
    description: 'How long a replaced version of a secret can be rolled back to; then it is destroyed',
    min: 0,
    max: 8784,
    default: 168,
    unit: 'hours',
  }),
  RESOLVE_LIMIT_PER_WORKER: Env.integer({
    description: 'Requests of one worker, or of another certificate but that of the control plane, in a minute',
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
  checkIdentityConfig(config, problem)
  checkKeyConfig(config, problem)
}
