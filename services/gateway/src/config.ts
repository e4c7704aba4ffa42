import {
  checkIdentityConfig,
  Env,
  healthFields,
  identityFields,
  isProduction,
  issuerField,
  platformFields,
} from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'

/** The environment of the gateway; docs/operations/configuration.md is made from the descriptions. */
export const configSchema = Type.Object({
  ...platformFields,
  ...identityFields,
  ...issuerField,
  ...healthFields(9453),
  GATEWAY_HOST: Env.string({ description: 'Address that the public listener binds to', default: '0.0.0.0' }),
  GATEWAY_PORT: Env.port({ description: 'Port of the public listener', default: 8453 }),
  GATEWAY_TLS_CERT_FILE: Type.Optional(
    Env.path({ description: 'Certificate of the public listener (PEM chain); the platform certificate when absent' }),
  ),
  GATEWAY_TLS_KEY_FILE: Type.Optional(Env.path({ description: 'Private key of the public listener (PEM)' })),
  GATEWAY_PLAINTEXT: Env.boolean({
    description: 'Serve plain HTTP, on a loopback address only, for a front on this machine that ends TLS',
    default: false,
  }),
  GATEWAY_PUBLIC_URL: Type.Optional(
    Env.url({ description: 'URL that clients connect to; shown in the log', protocols: ['wss:', 'ws:'] }),
  ),
  GATEWAY_TRUSTED_PROXIES: Env.list({
    description:
      'Addresses or networks of proxies whose X-Forwarded-For is believed; with GATEWAY_PLAINTEXT loopback is',
    default: [],
    example: '10.0.0.0/8',
  }),
  GATEWAY_MAX_CONNECTIONS: Env.integer({
    description: 'Most connections at once',
    default: 5000,
    min: 1,
    max: 1_000_000,
    unit: 'connections',
  }),
  GATEWAY_MAX_UNBOUND_CONNECTIONS: Env.integer({
    description: 'Most connections at once that have not shown a valid token yet',
    default: 500,
    min: 1,
    max: 100_000,
    unit: 'connections',
  }),
  GATEWAY_MAX_CONNECTIONS_PER_ADDRESS: Env.integer({
    description: 'Most connections at once from one client address (IPv6: one /64 network)',
    default: 200,
    min: 1,
    max: 1_000_000,
    unit: 'connections',
  }),
  GATEWAY_DRAIN_SECONDS: Env.integer({
    description: 'How long live connections may go on after SIGTERM before they are closed',
    default: 10,
    min: 0,
    max: 300,
    unit: 'seconds',
  }),
  CONTROL_PLANE_JWKS_URL: Env.url({
    description: 'Key set that data-plane tokens are verified with',
    example: 'https://rap.example.com/.well-known/jwks.json',
  }),
  CONTROL_PLANE_INTERNAL_URL: Env.url({
    description:
      'Internal listener of the control plane: the directory of workers, the audit of refused binds, the renewal of an enrolled identity',
    example: 'https://control-plane.rap.internal:8444',
  }),
})

/** The checked environment. */
export type Config = Readonly<Static<typeof configSchema>>

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/

/** Rules between variables. */
export function checkConfig(config: Config, problem: (variable: string, message: string) => void): void {
  if ((config.GATEWAY_TLS_CERT_FILE === undefined) !== (config.GATEWAY_TLS_KEY_FILE === undefined)) {
    problem('GATEWAY_TLS_KEY_FILE', 'is set together with GATEWAY_TLS_CERT_FILE or not at all')
  }
  checkIdentityConfig(config, problem)
  if (config.GATEWAY_PLAINTEXT && !LOOPBACK.test(config.GATEWAY_HOST)) {
    problem('GATEWAY_PLAINTEXT', 'is for a loopback GATEWAY_HOST only')
  }
  const url = config.GATEWAY_PUBLIC_URL === undefined ? undefined : new URL(config.GATEWAY_PUBLIC_URL)
  if (url?.protocol === 'ws:' && (isProduction(config.APP_ENV) || !LOOPBACK.test(url.hostname))) {
    problem('GATEWAY_PUBLIC_URL', 'may be ws: outside production and on loopback only')
  }
}

/** Files of a certificate of the public listener's own, or undefined where the platform certificate serves. */
export function ownTlsFiles(config: Config): { certFile: string; keyFile: string } | undefined {
  const { GATEWAY_TLS_CERT_FILE: certFile, GATEWAY_TLS_KEY_FILE: keyFile } = config
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile }
}
