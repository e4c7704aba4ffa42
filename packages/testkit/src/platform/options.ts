import type { PlatformTarget } from './seed.ts'
import type { ServiceEnv, ServiceName } from './service.ts'

export interface PlatformOptions {
  /** Default `test`. */
  readonly appEnv?: 'development' | 'smoke' | 'test' | 'production'
  /** Keeps database, keys, the authority and the log-in between starts. Default a temporary folder. */
  readonly dir?: string
  /**
   * `files` (default): certificates of a test authority. `enrolled`: the control plane's own CA, and join tokens, with which everybody
   * enrols and renews by themselves.
   */
  readonly identities?: 'files' | 'enrolled'
  /** Fixed ports; what is not named gets a free one. */
  readonly ports?: Partial<Record<PortName, number>>
  /** A database that is there already, in place of a Postgres of its own; both services use this one role. */
  readonly databaseUrl?: string
  /** A Redis that is there already, in place of one of its own. */
  readonly redisUrl?: string
  /** The policy of the organization, in place of none: without one nothing but picture, keys and notices is allowed. */
  readonly policy?: PlatformPolicy
  /** RDP servers to make resources and secrets for. */
  readonly targets?: readonly PlatformTarget[]
  /** Number of workers, default 1. */
  readonly workers?: number
  /** `tls` (default), `plaintext` behind a front on this machine, or `none`. */
  readonly gateway?: 'tls' | 'plaintext' | 'none'
  /** The gateway's URL for clients, default its own listener. */
  readonly gatewayPublicUrl?: string
  readonly portalDir?: string
  readonly publicOrigins?: readonly string[]
  readonly adminEmail?: string
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warn'
  /** Changes to the environment of one service; undefined takes a variable away. */
  readonly env?: Partial<Record<ServiceName, ServiceEnv>>
  /** Told what is being started, in words, for progress lines. */
  readonly onProgress?: (step: string) => void
}

/** A policy document, with whatever names a test wants to send. */
export interface PlatformPolicy {
  readonly channels?: readonly string[]
  readonly limits?: Readonly<Record<string, unknown>>
}

export type PortName =
  | 'postgres'
  | 'redis'
  | 'control-plane'
  | 'control-plane-internal'
  | 'secret-resolver'
  | 'gateway'
  | 'rdp-worker'
