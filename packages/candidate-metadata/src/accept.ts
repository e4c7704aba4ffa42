import { type Candidate, type CandidateMetadata, isProductionEnvironment } from './candidate.ts'

/**
 * Why a client uses a candidate or passes it over. `no_trust_metadata` is a direct candidate that leaves out any of
 * `smoke_only`, `production_trusted` and `tls_trust_mode` in production.
 */
export type AcceptReason =
  | 'accepted'
  | 'not_traffic_ready'
  | 'transport_not_offered'
  | 'smoke_only_in_production'
  | 'no_trust_metadata'
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
  /** The client's own `environment`; what is not listed as non-production is production. */
  readonly environment: string
  readonly runtimeTransport: 'rdcleanpath_v1' | 'binary_v1' | 'json_v1'
  /** The client's smoke bypass; it is ignored in production and for every candidate that is not smoke-only. */
  readonly allowInsecureDirectDataPlaneTlsForSmoke: boolean
}

/**
 * Decides over every candidate, in the order in which to try them.
 *
 * INVARIANT: in production a direct candidate is accepted only where `smoke_only` is false, `production_trusted` is true and
 * `tls_trust_mode` names an authority, all three; a candidate that contradicts itself counts as the worst that it says.
 * INVARIANT: no bypass is granted in production, to a gateway, or to a candidate that is anything but smoke-only.
 */
export function acceptCandidates(candidates: readonly Candidate[], options: AcceptOptions): CandidateDecision[] {
  return [...candidates].sort((a, b) => a.priority - b.priority).map(candidate => decide(candidate, options))
}

function decide(candidate: Candidate, options: AcceptOptions): CandidateDecision {
  const direct = candidate.type === 'direct_worker_wss'
  const production = isProductionEnvironment(options.environment)
  const reason =
    refusal(candidate, options.runtimeTransport) ??
    (direct && production ? productionRefusal(candidate.metadata) : undefined) ??
    'accepted'
  const accepted = reason === 'accepted'
  return {
    candidate,
    accepted,
    reason,
    allowInsecureTls:
      accepted &&
      direct &&
      !production &&
      isSmokeOnly(candidate.metadata) &&
      options.allowInsecureDirectDataPlaneTlsForSmoke === true,
  }
}

function refusal(
  { type, url, metadata }: Candidate,
  transport: AcceptOptions['runtimeTransport'],
): AcceptReason | undefined {
  if (!metadata.traffic_ready) return 'not_traffic_ready'
  if (!metadata.runtime_transports.includes(transport)) return 'transport_not_offered'
  return isSecureUrl(url, type === 'direct_worker_wss') ? undefined : 'insecure_url'
}

function productionRefusal({ smoke_only, production_trusted, tls_trust_mode }: CandidateMetadata) {
  if (smoke_only === true || tls_trust_mode === 'smoke_insecure') return 'smoke_only_in_production'
  if (smoke_only === undefined || production_trusted === undefined || tls_trust_mode === undefined) {
    return 'no_trust_metadata'
  }
  return production_trusted ? undefined : 'not_production_trusted'
}

/** Smoke-only in everything that it says: whoever claims production trust as well is checked like everybody else. */
function isSmokeOnly({ smoke_only, production_trusted, tls_trust_mode }: CandidateMetadata): boolean {
  return (
    smoke_only === true &&
    production_trusted !== true &&
    (tls_trust_mode === undefined || tls_trust_mode === 'smoke_insecure')
  )
}

/** Plain `ws:` is for a gateway on this very machine alone, where the demo's front stands. */
function isSecureUrl(url: string, direct: boolean): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password, hash } = new URL(url)
  if (username !== '' || password !== '' || hash !== '') return false
  if (protocol === 'wss:') return true
  return !direct && protocol === 'ws:' && (hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]')
}
