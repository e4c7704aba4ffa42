import { TRUST_MODES } from '@rap/candidate-metadata'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { Env, healthFields, isProduction, issuerField, platformFields } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'

/** The environment of the control plane; docs/operations/configuration.md is made from the descriptions. */
export const configSchema = Type.Object({
  ...platformFields,
  RAP_TLS_CERT_FILE: Type.Optional(
    Env.path({
      description: 'Platform certificate of this service (PEM chain); without it the control plane issues its own',
    }),
  ),
  RAP_TLS_KEY_FILE: Type.Optional(Env.path({ description: 'Private key of the platform certificate (PEM)' })),
  RAP_PLATFORM_CA_FILE: Type.Optional(Env.path({ description: 'Certificates of the platform CA (PEM)' })),
  ...issuerField,
  ...healthFields(9443),
  CONTROL_PLANE_HOST: Env.string({
    description: 'Address that the public HTTPS listener binds to',
    default: '0.0.0.0',
  }),
  CONTROL_PLANE_PORT: Env.port({ description: 'Port of the public HTTPS listener', default: 8443 }),
  CONTROL_PLANE_TLS_CERT_FILE: Type.Optional(
    Env.path({ description: 'Certificate of the public listener (PEM chain); RAP_TLS_CERT_FILE when absent' }),
  ),
  CONTROL_PLANE_TLS_KEY_FILE: Type.Optional(
    Env.path({ description: 'Private key of the public listener (PEM); RAP_TLS_KEY_FILE when absent' }),
  ),
  CONTROL_PLANE_INTERNAL_HOST: Env.string({
    description: 'Address that the internal mutual-TLS listener binds to',
    default: '0.0.0.0',
  }),
  CONTROL_PLANE_INTERNAL_PORT: Env.port({ description: 'Port of the internal mutual-TLS listener', default: 8444 }),
  CONTROL_PLANE_PUBLIC_ORIGINS: Env.list({
    description: 'Origins of the portal; a call that uses the refresh cookie must come from one of them',
    default: [],
    itemPattern: '^https?://[^/]+$',
    maxItems: 20,
    example: 'https://rap.example.com',
  }),
  CONTROL_PLANE_TRUSTED_PROXIES: Env.list({
    description: 'Addresses or networks of proxies whose X-Forwarded-For is believed',
    default: [],
    example: '10.0.0.0/8',
  }),
  CONTROL_PLANE_REQUESTS_PER_MINUTE: Env.integer({
    description: 'API requests that one client address may make in a minute',
    default: 1200,
    min: 10,
    max: 1_000_000,
    unit: 'requests',
  }),
  DATABASE_URL: Env.url({
    description: 'PostgreSQL 15 or newer, as the role that owns the schema rap',
    protocols: ['postgres:', 'postgresql:'],
    secret: true,
  }),
  DATABASE_POOL_SIZE: Env.integer({
    description: 'Most connections to PostgreSQL',
    default: 20,
    min: 4,
    max: 200,
    unit: 'connections',
  }),
  REDIS_URL: Env.url({ description: 'Redis, for live coordination', protocols: ['redis:', 'rediss:'], secret: true }),
  SECRET_RESOLVER_URL: Env.url({ description: 'Base URL of the secret-resolver' }),
  PORTAL_DIR: Type.Optional(
    Env.path({ description: 'Directory with the built portal; without it no portal is served' }),
  ),
  DATA_PLANE_GATEWAY_URL: Type.Optional(
    Env.url({
      description: 'Public URL of the gateway; without it no gateway is advertised. ws: is for localhost only',
      protocols: ['wss:', 'ws:'],
      example: `wss://rap.example.com${DATA_PLANE_PATH}`,
    }),
  ),
  DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: Env.oneOf(TRUST_MODES, {
    description:
      'How clients trust the certificate of a direct worker; smoke_insecure is never advertised in production',
    default: 'platform_ca',
  }),
  DATA_PLANE_DIRECT_WORKER_TLS_CA_REF: Type.Optional(
    Env.string({
      description:
        'Name and version of the trust bundle that candidates name; the newest bundle of the platform CA when absent',
      example: 'rap-platform-ca:v1',
      maxLength: 128,
    }),
  ),
  CONTROL_PLANE_NAMES: Env.list({
    description:
      'DNS names and IP addresses in the certificate that the control plane issues to itself, where RAP_TLS_CERT_FILE is absent',
    default: [],
    maxItems: 32,
    example: 'control-plane.rap.internal,rap.example.com',
  }),
  CONTROL_PLANE_CERTIFICATE_HOURS: Env.integer({
    description: 'Life of the certificates that the platform CA issues; they are renewed at two thirds of it',
    default: 24,
    min: 1,
    max: 720,
    unit: 'hours',
  }),
  CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES: Env.integer({
    description: 'How long a new trust bundle is published before certificates are issued that only it vouches for',
    default: 60,
    min: 0,
    max: 43_200,
    unit: 'minutes',
  }),
  CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: Type.Optional(
    Env.path({
      description:
        'File with the 256-bit key (base64) that wraps signing keys and authorities at rest; or a key of CONTROL_PLANE_KEY_PROVIDERS_FILE',
    }),
  ),
  CONTROL_PLANE_KEY_PROVIDERS_FILE: Type.Optional(
    Env.path({
      description: 'File that names further keys: in files, in Vault or OpenBao, in an HSM, in AWS KMS',
      example: '/etc/rap/key-providers.json',
    }),
  ),
  CONTROL_PLANE_KEY_PROVIDER: Type.Optional(
    Env.string({
      description:
        'Name of the key in CONTROL_PLANE_KEY_PROVIDERS_FILE that wraps new signing keys and authorities; CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_ID when absent',
      maxLength: 128,
      example: 'vault-main',
    }),
  ),
  CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_ID: Env.string({
    description: 'Name of the key in that file; stored with everything that it wraps',
    default: 'signing-key-wrap:v1',
    pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$',
  }),
  DATA_PLANE_SIGNING_KEY_ROTATION_HOURS: Env.integer({
    description: 'How long a signing key signs before the next one takes its place; 0: only on demand',
    default: 720,
    min: 0,
    max: 87_600,
    unit: 'hours',
  }),
  SESSION_READY_TIMEOUT_SECONDS: Env.integer({
    description: 'How long the start of a session waits for its worker',
    default: 15,
    min: 1,
    max: 25,
    unit: 'seconds',
  }),
  SESSION_LIMIT_PER_USER: Env.integer({
    description: 'Sessions that one person may have connected at once in one organization',
    default: 20,
    min: 1,
    max: 10_000,
    unit: 'sessions',
  }),
  SESSION_LIMIT_PER_ORGANIZATION: Env.integer({
    description: 'Sessions that one organization may have connected at once',
    default: 500,
    min: 1,
    max: 100_000,
    unit: 'sessions',
  }),
  SESSION_DETACHED_LIMIT_HOURS: Env.integer({
    description: 'How long a detached session waits for its user before it is ended',
    default: 72,
    min: 1,
    max: 8760,
    unit: 'hours',
  }),
  BOOTSTRAP_ADMIN_EMAIL: Type.Optional(
    Env.string({
      description: 'E-mail address of the first user, made at a start with an empty database',
      maxLength: 254,
    }),
  ),
  BOOTSTRAP_ADMIN_PASSWORD_FILE: Type.Optional(Env.path({ description: 'File with the password of the first user' })),
  BOOTSTRAP_ORGANIZATION_NAME: Env.string({
    description: 'Name of the organization that is made together with the first user',
    default: 'Default',
    maxLength: 200,
  }),
})

/** The checked environment. */
export type Config = Readonly<Static<typeof configSchema>>

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** Rules between variables. */
export function checkConfig(config: Config, problem: (variable: string, message: string) => void): void {
  if ((config.CONTROL_PLANE_TLS_CERT_FILE === undefined) !== (config.CONTROL_PLANE_TLS_KEY_FILE === undefined)) {
    problem('CONTROL_PLANE_TLS_KEY_FILE', 'is set together with CONTROL_PLANE_TLS_CERT_FILE or not at all')
  }
  const files = [config.RAP_TLS_CERT_FILE, config.RAP_TLS_KEY_FILE, config.RAP_PLATFORM_CA_FILE]
  if (files.some(file => file !== undefined) && files.includes(undefined)) {
    problem('RAP_TLS_CERT_FILE', 'is set together with RAP_TLS_KEY_FILE and RAP_PLATFORM_CA_FILE or not at all')
  }
  if (!files.includes(undefined) && config.CONTROL_PLANE_NAMES.length > 0) {
    problem('CONTROL_PLANE_NAMES', 'is for a control plane that issues its own certificate: unset RAP_TLS_CERT_FILE')
  }
  if (files.every(file => file === undefined) && config.CONTROL_PLANE_NAMES.length === 0) {
    problem('CONTROL_PLANE_NAMES', 'is required where RAP_TLS_CERT_FILE is absent')
  }
  if ((config.BOOTSTRAP_ADMIN_EMAIL === undefined) !== (config.BOOTSTRAP_ADMIN_PASSWORD_FILE === undefined)) {
    problem('BOOTSTRAP_ADMIN_PASSWORD_FILE', 'is set together with BOOTSTRAP_ADMIN_EMAIL or not at all')
  }
  if (
    config.CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE === undefined &&
    config.CONTROL_PLANE_KEY_PROVIDERS_FILE === undefined
  ) {
    problem('CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE', 'this or CONTROL_PLANE_KEY_PROVIDERS_FILE must be set')
  }
  for (const origin of config.CONTROL_PLANE_PUBLIC_ORIGINS) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      problem('CONTROL_PLANE_PUBLIC_ORIGINS', `holds something that is no origin: ${origin.slice(0, 60)}`)
    }
  }
  const production = isProduction(config.APP_ENV)
  const gateway = config.DATA_PLANE_GATEWAY_URL
  if (gateway !== undefined) {
    const { protocol, hostname, pathname, search, hash, username } = new URL(gateway)
    if (pathname !== DATA_PLANE_PATH || search !== '' || hash !== '' || username !== '') {
      problem('DATA_PLANE_GATEWAY_URL', `must end in ${DATA_PLANE_PATH}, without user, query and fragment`)
    }
    if (protocol === 'ws:' && !LOOPBACK.test(hostname)) {
      problem('DATA_PLANE_GATEWAY_URL', 'may be ws: on localhost only')
    }
  }
  if (production && gateway === undefined && config.DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE === 'smoke_insecure') {
    problem(
      'DATA_PLANE_GATEWAY_URL',
      'is required: in production no smoke_insecure worker is advertised, so no path is left',
    )
  }
}
