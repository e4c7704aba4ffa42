import type { Account } from './account.ts'
import type { Environment } from './candidates.ts'
import type { Platform } from './platform/types.ts'
import type { ClientTrust } from './trust.ts'

/** Bounds of each step, in milliseconds. */
export interface Timeouts {
  /** An ordinary API call. */
  readonly requestMs: number
  /** A session start or an attach: the server waits for the worker and the target within it. */
  readonly startMs: number
  /** Opening a WebSocket to one candidate: TCP, TLS and upgrade. A direct worker that is slower than this counts as unreachable. */
  readonly openMs: number
  /** From the bind to its answer. */
  readonly bindMs: number
  /** How long a worker that owes an answer about transfers may be silent; a cut network says nothing by itself. */
  readonly silenceMs: number
}

export const DEFAULT_TIMEOUTS: Timeouts = {
  requestMs: 10_000,
  startMs: 30_000,
  openMs: 4_000,
  bindMs: 12_000,
  silenceMs: 30_000,
}

/** What the parts of one client share. */
export interface ClientContext {
  readonly account: Account
  readonly platform: Platform
  readonly environment: Environment
  readonly trust: ClientTrust
  readonly timeouts: Timeouts
  readonly allowInsecureDirectDataPlaneTlsForSmoke: boolean
}
