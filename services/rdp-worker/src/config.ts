import { isAbsolute } from 'node:path'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
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
import { type TargetPolicy, targetPolicyOf } from './target/address.ts'

const GIB = 2 ** 30
const UUID = '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'

/** The environment of the rdp-worker; docs/operations/configuration.md is made from the descriptions. */
export const configSchema = Type.Object({
  ...platformFields,
  ...identityFields,
  ...issuerField,
  ...healthFields(9463),
  RDP_WORKER_ID: Type.Optional(
    Env.string({
      description: 'Id of this worker, which its certificate carries as SPIFFE ID; required without RAP_IDENTITY_DIR',
      pattern: UUID,
    }),
  ),
  RDP_WORKER_NAME: Type.Optional(Env.string({ description: 'Name that administrators see', maxLength: 200 })),
  RDP_WORKER_LABELS: Env.list({
    description: 'Labels as key=value; a resource with labels goes to workers that have all of them',
    default: [],
    itemPattern: '^[A-Za-z0-9._/-]{1,63}=[A-Za-z0-9._/-]{0,63}$',
    maxItems: 32,
    example: 'site=berlin,zone=dmz',
  }),
  RDP_WORKER_HOST: Env.string({ description: 'Address that the data plane binds to', default: '0.0.0.0' }),
  RDP_WORKER_PORT: Env.port({ description: 'Port of the data plane', default: 8463 }),
  RDP_WORKER_PUBLIC_URL: Env.url({
    description: 'URL of the data plane as clients reach it',
    protocols: ['wss:'],
    example: `wss://worker-1.example.com:8463${DATA_PLANE_PATH}`,
  }),
  RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: Type.Optional(
    Env.path({
      description:
        'Certificate of the data plane (PEM chain) with its public name, read again when it changes: of a public authority, or of the platform CA with the SPIFFE ID of this worker. The platform certificate when absent',
    }),
  ),
  RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: Type.Optional(
    Env.path({ description: 'Private key of the data plane certificate (PEM)' }),
  ),
  RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE: Type.Optional(
    Env.path({ description: 'Public key that tokens are verified with (PEM); instead of CONTROL_PLANE_JWKS_URL' }),
  ),
  RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM: Type.Optional(
    Env.string({ description: 'The same as text (PEM); instead of CONTROL_PLANE_JWKS_URL', maxLength: 16_384 }),
  ),
  CONTROL_PLANE_JWKS_URL: Type.Optional(
    Env.url({
      description: 'Key set that tokens are verified with',
      example: 'https://control-plane.rap.internal:8443/.well-known/jwks.json',
    }),
  ),
  CONTROL_PLANE_INTERNAL_URL: Env.url({
    description: 'Internal listener of the control plane',
    example: 'https://control-plane.rap.internal:8444',
  }),
  SECRET_RESOLVER_URL: Env.url({ description: 'Listener of the secret-resolver' }),
  REDIS_URL: Env.url({
    description: 'Redis, for assignments and leases',
    protocols: ['redis:', 'rediss:'],
    secret: true,
  }),
  RDP_WORKER_MAX_SESSIONS: Env.integer({
    description: 'Most sessions at once',
    default: 200,
    min: 1,
    max: 10_000,
    unit: 'sessions',
  }),
  RDP_WORKER_MAX_UNBOUND_CONNECTIONS: Env.integer({
    description: 'Most connections at once that have not bound yet; each may hold 1 MiB for ten seconds',
    default: 128,
    min: 1,
    max: 100_000,
    unit: 'connections',
  }),
  RDP_WORKER_MAX_UNBOUND_PER_ADDRESS: Env.integer({
    description: 'The same for one client address, which a gateway shares among its clients',
    default: 64,
    min: 1,
    max: 100_000,
    unit: 'connections',
  }),
  RDP_WORKER_TARGET_ALLOW: Env.list({
    description:
      'Networks (10.0.0.0/8), addresses and host patterns (*.corp.example) that may be dialled; empty: everything but this machine, link-local and metadata addresses, which must be listed by address. Outside production an empty list allows this machine',
    default: [],
    example: '10.0.0.0/8,*.corp.example',
  }),
  RDP_WORKER_CREDSSP_MINIMUM_VERSION: Env.integer({
    description:
      'Lowest CredSSP version that a target may speak; below 5 the binding to its key has no nonce (CVE-2018-0886)',
    default: 5,
    min: 2,
    max: 6,
  }),
  RDP_WORKER_UPLOAD_DIR: Type.Optional(
    Env.path({
      description:
        'Directory for uploaded files of live sessions, encrypted; made 0700 when it is not there, and refused when it is a link or others may write to it. The directory for temporary files when absent, which is often memory',
      example: '/var/lib/rap/uploads',
    }),
  ),
  RDP_WORKER_UPLOAD_MAX_BYTES: Env.integer({
    description:
      'Most bytes of uploaded files of all sessions together, counted from their announcement; 0: no uploads',
    default: 64 * GIB,
    min: 0,
    max: 4096 * GIB,
    unit: 'bytes',
  }),
  RDP_WORKER_UPLOAD_RESERVE_BYTES: Env.integer({
    description:
      'Bytes that uploads leave free on their disk; a file that would not fit beside them is refused at once',
    default: GIB,
    min: 0,
    max: 4096 * GIB,
    unit: 'bytes',
  }),
  RDP_WORKER_DRAIN_SECONDS: Env.integer({
    description: 'How long live sessions may go on after SIGTERM before they are closed',
    default: 10,
    min: 0,
    max: 3600,
    unit: 'seconds',
  }),
})

/** The checked environment. */
export type Config = Readonly<Static<typeof configSchema>>

/** Rules between variables. */
export function checkConfig(config: Config, problem: (variable: string, message: string) => void): void {
  checkIdentityConfig(config, problem)
  if (config.RAP_IDENTITY_DIR === undefined && config.RDP_WORKER_ID === undefined) {
    problem('RDP_WORKER_ID', 'is required, unless RAP_IDENTITY_DIR is set')
  }
  const { RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: certFile, RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: keyFile } = config
  if ((certFile === undefined) !== (keyFile === undefined)) {
    problem(
      'RDP_WORKER_DATA_PLANE_TLS_KEY_FILE',
      'is set together with RDP_WORKER_DATA_PLANE_TLS_CERT_FILE or not at all',
    )
  }
  if (config.RDP_WORKER_UPLOAD_DIR !== undefined && !isAbsolute(config.RDP_WORKER_UPLOAD_DIR)) {
    problem('RDP_WORKER_UPLOAD_DIR', 'is an absolute path')
  }
  const keys = [
    config.RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE,
    config.RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM,
    config.CONTROL_PLANE_JWKS_URL,
  ].filter(value => value !== undefined)
  if (keys.length !== 1) {
    problem(
      'CONTROL_PLANE_JWKS_URL',
      'exactly one of this, RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE and RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM must be set',
    )
  }
  const url = new URL(config.RDP_WORKER_PUBLIC_URL)
  if (url.pathname !== DATA_PLANE_PATH || url.search !== '' || url.hash !== '' || url.username !== '') {
    problem('RDP_WORKER_PUBLIC_URL', `ends with ${DATA_PLANE_PATH} and has no query and no credential`)
  }
  try {
    targetPolicyOf(config.RDP_WORKER_TARGET_ALLOW)
  } catch (error) {
    problem('RDP_WORKER_TARGET_ALLOW', (error as Error).message)
  }
}

/** Files of a certificate of the data plane's own, or undefined where the platform certificate serves. */
export function dataPlaneTlsFiles(config: Config): { certFile: string; keyFile: string } | undefined {
  const { RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: certFile, RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: keyFile } = config
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile }
}

/** Labels as the control plane takes them. */
export function labelsOf(config: Config): Record<string, string> {
  return Object.fromEntries(
    config.RDP_WORKER_LABELS.map(label => [label.slice(0, label.indexOf('=')), label.slice(label.indexOf('=') + 1)]),
  )
}

/** The rule in force: outside production, and without a list, a worker may dial its own machine, where demo and test targets run. */
export function targetPolicy(config: Config): TargetPolicy {
  return targetPolicyOf(config.RDP_WORKER_TARGET_ALLOW, { loopback: !isProduction(config.APP_ENV) })
}
