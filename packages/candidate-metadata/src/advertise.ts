import { type Candidate, type CandidateMetadata, isProductionEnvironment, type TlsTrustMode } from './candidate.ts'

/** What the backend knows when it advertises. */
export interface AdvertiseOptions {
  readonly appEnv: string
  /** Undefined where the direct path is not configured. */
  readonly trustMode: TlsTrustMode | undefined
  /** The trust bundle that a `platform_ca` worker chains to, such as `rap-platform-ca:v1`; in the other modes a mere label. */
  readonly caRef?: string | undefined
  readonly worker: { readonly url: string; readonly trafficReady: boolean } | undefined
  readonly gatewayUrl: string | undefined
}

const TRANSPORTS: CandidateMetadata['runtime_transports'] = ['rdcleanpath_v1', 'binary_v1', 'json_v1']

/**
 * The candidates that a backend advertises, best first.
 *
 * In production a `smoke_insecure` worker is never advertised; the gateway is, wherever it is configured.
 * Trust metadata is there only where the direct candidate can carry data.
 */
export function buildCandidates(options: AdvertiseOptions): Candidate[] {
  const candidates: Candidate[] = []
  const { trustMode, worker } = options
  const hidden = trustMode === 'smoke_insecure' && isProductionEnvironment(options.appEnv)
  if (trustMode !== undefined && worker !== undefined && !hidden) {
    candidates.push({
      type: 'direct_worker_wss',
      url: worker.url,
      priority: 10,
      metadata: {
        runtime_transport: 'json_v1',
        runtime_transports: [...TRANSPORTS],
        traffic_ready: worker.trafficReady,
        ...(worker.trafficReady ? trustMetadata(trustMode, options.caRef) : {}),
      },
    })
  }
  if (options.gatewayUrl !== undefined) {
    candidates.push({
      type: 'backend_gateway',
      url: options.gatewayUrl,
      priority: 50,
      metadata: { runtime_transport: 'json_v1', runtime_transports: [...TRANSPORTS], traffic_ready: true },
    })
  }
  return candidates
}

function trustMetadata(trustMode: TlsTrustMode, caRef: string | undefined): Partial<CandidateMetadata> {
  const smoke = trustMode === 'smoke_insecure'
  return {
    tls_trust_mode: trustMode,
    production_trusted: !smoke,
    smoke_only: smoke,
    ...(caRef !== undefined && { tls_ca_ref: caRef }),
  }
}
