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
  RAP_PLATFORM_CA_FILE: Env.path({ description: 'Certificates of the platform CA (PEM)' }),
} as const

/** The identity of a service towards the others. */
export const identityFields = {
  RAP_TLS_CERT_FILE: Env.path({ description: 'Platform certificate of this service (PEM chain)' }),
  RAP_TLS_KEY_FILE: Env.path({ description: 'Private key of the platform certificate (PEM)' }),
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
