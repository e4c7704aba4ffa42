import { Type } from '@sinclair/typebox'
import { Env } from './config.ts'

/** Environment variables that mean the same in every service; a service's `configSchema` spreads what it needs. */
export const platformFields = {
  APP_ENV: Env.appEnv(),
  LOG_LEVEL: Env.logLevel(),
  RAP_TRUST_DOMAIN: Env.string({
    description: 'Trust domain of the SPIFFE IDs in platform certificates',
    default: 'rap.internal',
    maxLength: 255,
    pattern: '^[a-z0-9._-]+$',
  }),
} as const

/**
 * The identity of a service towards the others: in files that somebody else writes, or enrolled and renewed by the service
 * itself in RAP_IDENTITY_DIR. `checkIdentityConfig` has the rules between them.
 */
export const identityFields = {
  RAP_TLS_CERT_FILE: Type.Optional(
    Env.path({
      description: 'Platform certificate of this service (PEM chain); read again when it changes. Or RAP_IDENTITY_DIR',
    }),
  ),
  RAP_TLS_KEY_FILE: Type.Optional(
    Env.path({ description: 'Private key of the platform certificate (PEM); read again when it changes' }),
  ),
  RAP_PLATFORM_CA_FILE: Type.Optional(
    Env.path({ description: 'Certificates of the platform CA (PEM); read again when they change' }),
  ),
  RAP_IDENTITY_DIR: Type.Optional(
    Env.path({
      description:
        'Directory of this one process, where it keeps the key, certificate and trust bundle that it enrols for and renews; in place of the three files',
      example: '/var/lib/rap/identity',
    }),
  ),
  RAP_JOIN_TOKEN_FILE: Type.Optional(
    Env.path({ description: 'File with the join token, read where RAP_IDENTITY_DIR has no certificate in force' }),
  ),
  RAP_IDENTITY_POLL_SECONDS: Env.integer({
    description: 'How often the control plane is asked for a newer trust bundle, a renewal and a revocation',
    default: 60,
    min: 1,
    max: 3600,
    unit: 'seconds',
  }),
  CONTROL_PLANE_URL: Type.Optional(
    Env.url({
      description: 'Public URL of the control plane, for the enrolment with a join token',
      example: 'https://rap.example.com',
    }),
  ),
} as const

/** Who signs the tokens of the data plane, leases and assignments. */
export const issuerField = {
  DATA_PLANE_ISSUER: Env.string({
    description: 'Issuer in the tokens of the data plane; the same in every service',
    default: 'https://rap.internal/control-plane',
    maxLength: 256,
  }),
} as const

/** The private listener of /healthz, /readyz and /metrics. */
export const healthFields = (port: number) => ({
  HEALTH_HOST: Env.string({ description: 'Address of the private health and metrics listener', default: '127.0.0.1' }),
  HEALTH_PORT: Env.port({ description: 'Port of the private health and metrics listener', default: port }),
})
