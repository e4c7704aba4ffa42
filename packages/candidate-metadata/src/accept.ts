import { type Candidate, isProductionEnvironment } from './candidate.ts'

/** Why a client uses a candidate or passes it over. */
export type AcceptReason =
  | 'accepted'
  | 'not_traffic_ready'
  | 'transport_not_offered'
  | 'smoke_only_in_production'
  | 'not_production_trusted'
  | 'insecure_url'

/** One decision; a list of them answers "why did I get the gateway?". */
export interface CandidateDecision {
  readonly candidate: Candidate
  readonly accepted: boolean
  readonly reason: AcceptReason
  /** True where certificate validation may be bypassed: a smoke-only candidate, outside production, with the bypass switched on. */
  readonly allowInsecureTls: boolean
}

export interface AcceptOptions {
  /** The client's own `environment`. */
  readonly environment: string
  readonly runtimeTransport: 'rdcleanpath_v1' | 'binary_v1' | 'json_v1'
  /** The client's smoke bypass; it is ignored in production and for every candidate that is not smoke-only. */
  readonly allowInsecureDirectDataPlaneTlsForSmoke: boolean
}

/**
 * Decides over every candidate, in the order in which to try them.
 * INVARIANT: in production no direct candidate without production trust is accepted and no bypass is granted.
 */
export function acceptCandidates(candidates: readonly Candidate[], options: AcceptOptions): CandidateDecision[] {
  return [...candidates].sort((a, b) => a.priority - b.priority).map(candidate => decide(candidate, options))
}

function decide(candidate: Candidate, options: AcceptOptions): CandidateDecision {
  const { metadata } = candidate
  const production = isProductionEnvironment(options.environment)
  const direct = candidate.type === 'direct_worker_wss'
  const refuse = (reason: AcceptReason): CandidateDecision => ({
    candidate,
    accepted: false,
    reason,
    allowInsecureTls: false,
  })

  if (!metadata.traffic_ready) return refuse('not_traffic_ready')
  if (!metadata.runtime_transports.includes(options.runtimeTransport)) return refuse('transport_not_offered')
  if (!isSecureUrl(candidate.url, direct)) return refuse('insecure_url')
  if (direct && production) {
    if (metadata.smoke_only !== false) return refuse('smoke_only_in_production')
    if (metadata.production_trusted !== true) return refuse('not_production_trusted')
  }
  const allowInsecureTls =
    direct && !production && metadata.smoke_only === true && options.allowInsecureDirectDataPlaneTlsForSmoke
  return { candidate, accepted: true, reason: 'accepted', allowInsecureTls }
}

/** Plain `ws:` is for a gateway on this very machine alone, where the demo's front stands. */
function isSecureUrl(url: string, direct: boolean): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname } = new URL(url)
  if (protocol === 'wss:') return true
  return !direct && protocol === 'ws:' && (hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]')
}
