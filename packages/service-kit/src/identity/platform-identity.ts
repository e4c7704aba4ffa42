import type { SpiffeKind } from '@rap/pki'
import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { TlsMaterial } from '../tls.ts'
import type { IdentityConfig } from './identity-config.ts'

/** The certificate and key of this service, and the certificates that its peers' chain to. */
export type IdentityMaterial = TlsMaterial & { readonly ca: string | Buffer }

export type IdentityListener = (material: IdentityMaterial) => void | Promise<void>

/** Who this service is towards the others, kept up to date while it runs. */
export interface PlatformIdentity {
  readonly kind: SpiffeKind
  readonly id: string
  /** What is in force now: take it anew for each connection, or listen to changes. */
  readonly material: IdentityMaterial
  readonly certFile: string
  /** The same file as `certFile` where the identity is enrolled. */
  readonly keyFile: string
  readonly caFile: string
  /** Whether the control plane has taken this identity back. It stays so for the life of the process. */
  readonly isRevoked: boolean
  /**
   * Called after each change, one after the other, and at once where there has been one since the start. What a listener did
   * not take, because it threw, it is given again with the next look.
   */
  onChange(listener: IdentityListener): void
  /** Called once, when the identity is found to be revoked; at once where it is already. */
  onRevoked(listener: () => void): void
  /** `ok`, or what is wrong and what helps, in a few words, for `/readyz`. */
  status(): string
  /** Looks now, at the files or with the control plane. Never rejects. */
  check(): Promise<void>
  close(): void
}

export interface PlatformIdentityOptions {
  readonly config: IdentityConfig
  readonly kind: SpiffeKind
  /** Default: whatever id the certificate has. */
  readonly id?: string | undefined
  readonly logger: Logger
  readonly metrics?: Metrics | undefined
  /** Ends the wait for an enrolment. */
  readonly signal?: AbortSignal | undefined
  readonly times?: IdentityTimes
}

/** Clock, chance and times that tests change; in milliseconds. */
export interface IdentityTimes {
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  /** From 0 to 1, as `Math.random`. */
  readonly random?: () => number
  /** Time between two looks at the files of somebody else. */
  readonly fileIntervalMs?: number
  /** First and longest pause after a failure. */
  readonly retryMs?: number
  readonly maxRetryMs?: number
  /** Over how long those spread that are all told to renew. */
  readonly renewNowSpreadMs?: number
}
