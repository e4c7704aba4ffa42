import type { CloseReason } from '@rap/data-plane-protocol'
import type { CloseInfo } from '../bind.ts'
import { RapError } from '../errors.ts'

/** Pause before the first attempt to connect again, doubling up to the second value, in milliseconds. */
const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 5000

/** Ends after which the same session may be reached again, now or once it is attached again. */
const PASSING: ReadonlySet<string> = new Set<CloseReason>([
  'ERR_BIND_TIMEOUT',
  'ERR_BIND_TOKEN_EXPIRED',
  'ERR_BIND_UNAVAILABLE',
  'ERR_GATEWAY_DRAINING',
  'ERR_INTERNAL',
  'ERR_RELAY_CLIENT_PROTOCOL',
  'ERR_RELAY_CLIENT_TOO_SLOW',
  'ERR_RELAY_MEMORY_LIMIT',
  'ERR_RELAY_TARGET_CLOSED',
  'ERR_RELAY_TARGET_LOST',
  'ERR_RELAY_TARGET_PROTOCOL',
  'ERR_SESSION_DETACHED',
  'ERR_SESSION_IDLE_LIMIT',
  'ERR_WORKER_BUSY',
  'ERR_WORKER_DRAINING',
  'ERR_WORKER_UNREACHABLE',
])

/** Refusals of the way to a connection that are gone once the network is back or the session is attached again. */
const PASSING_ERRORS: ReadonlySet<string> = new Set([
  'ERR_NETWORK',
  'ERR_TIMEOUT',
  'ERR_NO_CANDIDATE',
  'ERR_NO_PATH',
  'ERR_SESSION_NOT_READY',
  'ERR_DATA_PLANE_CLOSED',
])

/** True for an end that is no answer, or one of PASSING. */
export function mayPass({ reason }: CloseInfo): boolean {
  return reason === '' || PASSING.has(reason)
}

/** The same for a connection that did not come about. */
export function errorMayPass(error: unknown): error is RapError {
  if (!(error instanceof RapError)) return false
  const { code, status = 0 } = error
  return PASSING.has(code) || PASSING_ERRORS.has(code) || status >= 500 || status === 429
}

/** Pause before attempt 0, 1, 2 …, in milliseconds; spread, so that many clients do not come back at once. */
export function pauseBefore(attempt: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(attempt, 10), MAX_PAUSE_MS) * (0.5 + Math.random() / 2)
}
