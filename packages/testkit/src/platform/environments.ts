import type { PlatformOptions } from './options.ts'
import type { ServiceEnv } from './service.ts'
import type { PlatformState } from './state.ts'
import { TRUST_DOMAIN } from './state.ts'

/** Where everything of one platform listens. */
export interface Addresses {
  readonly api: string
  readonly internal: string
  readonly resolver: string
  readonly gateway: string | undefined
  readonly ports: Readonly<Record<'controlPlane' | 'internal' | 'resolver' | 'gateway', number>>
}

export interface Wiring {
  readonly options: PlatformOptions
  readonly state: PlatformState
  readonly addresses: Addresses
  readonly redisUrl: string
  readonly logLevel: string
}

const DATA_PLANE_PATH = '/data-plane/v1'
const HOST = '127.0.0.1'

function common({ options, redisUrl, logLevel }: Wiring): ServiceEnv {
  return {
    APP_ENV: options.appEnv ?? 'test',
    LOG_LEVEL: logLevel,
    RAP_TRUST_DOMAIN: TRUST_DOMAIN,
    REDIS_URL: redisUrl,
    HEALTH_HOST: HOST,
    HEALTH_PORT: '0',
  }
}

export function controlPlaneEnv(wiring: Wiring, databaseUrl: string): ServiceEnv {
  const { options, state, addresses } = wiring
  return {
    ...common(wiring),
    CONTROL_PLANE_HOST: HOST,
    CONTROL_PLANE_PORT: String(addresses.ports.controlPlane),
    CONTROL_PLANE_INTERNAL_HOST: HOST,
    CONTROL_PLANE_INTERNAL_PORT: String(addresses.ports.internal),
    CONTROL_PLANE_PUBLIC_ORIGINS: [addresses.api, ...(options.publicOrigins ?? [])].join(','),
    DATABASE_URL: databaseUrl,
    SECRET_RESOLVER_URL: addresses.resolver,
    CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: state.signingWrapKeyFile,
    DATA_PLANE_GATEWAY_URL: addresses.gateway,
    DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'platform_ca',
    BOOTSTRAP_ADMIN_EMAIL: options.adminEmail ?? 'admin@rap.example',
    BOOTSTRAP_ADMIN_PASSWORD_FILE: state.adminPasswordFile,
    PORTAL_DIR: options.portalDir,
    ...options.env?.['control-plane'],
  }
}

export function secretResolverEnv(wiring: Wiring, identity: ServiceEnv, databaseUrl: string): ServiceEnv {
  const { options, state, addresses } = wiring
  return {
    ...common(wiring),
    ...identity,
    SECRET_RESOLVER_HOST: HOST,
    SECRET_RESOLVER_PORT: String(addresses.ports.resolver),
    DATABASE_URL: databaseUrl,
    SECRET_ENCRYPTION_KEY_FILE: state.masterKeyFile,
    SECRET_ENCRYPTION_KEY_ID: 'local-1',
    CONTROL_PLANE_JWKS_URL: `${addresses.api}/.well-known/jwks.json`,
    ...options.env?.['secret-resolver'],
  }
}

export function gatewayEnv(wiring: Wiring, identity: ServiceEnv): ServiceEnv {
  const { options, addresses } = wiring
  return {
    ...common(wiring),
    ...identity,
    // It knows workers by the word of the control plane alone.
    REDIS_URL: undefined,
    GATEWAY_HOST: HOST,
    GATEWAY_PORT: String(addresses.ports.gateway),
    GATEWAY_PLAINTEXT: options.gateway === 'plaintext' ? 'true' : 'false',
    GATEWAY_PUBLIC_URL: addresses.gateway,
    GATEWAY_DRAIN_SECONDS: '0',
    CONTROL_PLANE_INTERNAL_URL: addresses.internal,
    CONTROL_PLANE_JWKS_URL: `${addresses.api}/.well-known/jwks.json`,
    ...options.env?.gateway,
  }
}

export function workerEnv(wiring: Wiring, identity: ServiceEnv, port: number): ServiceEnv {
  const { options, state, addresses } = wiring
  return {
    ...common(wiring),
    ...identity,
    RDP_WORKER_HOST: HOST,
    RDP_WORKER_PORT: String(port),
    RDP_WORKER_PUBLIC_URL: workerUrl(port),
    CONTROL_PLANE_INTERNAL_URL: addresses.internal,
    CONTROL_PLANE_JWKS_URL: `${addresses.api}/.well-known/jwks.json`,
    SECRET_RESOLVER_URL: addresses.resolver,
    RDP_WORKER_DRAIN_SECONDS: '0',
    RDP_WORKER_UPLOAD_DIR: state.uploadDir,
    // The test targets are on this machine; nothing else is dialled.
    RDP_WORKER_TARGET_ALLOW: '127.0.0.0/8,::1/128',
    ...options.env?.['rdp-worker'],
  }
}

export function workerUrl(port: number): string {
  return `wss://localhost:${port}${DATA_PLANE_PATH}`
}

export function gatewayUrl(options: PlatformOptions, port: number): string | undefined {
  if (options.gateway === 'none') return undefined
  const scheme = options.gateway === 'plaintext' ? 'ws' : 'wss'
  return options.gatewayPublicUrl ?? `${scheme}://localhost:${port}${DATA_PLANE_PATH}`
}
