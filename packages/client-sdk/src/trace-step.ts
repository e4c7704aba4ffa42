/** One thing that was decided or seen while a path to the desktop was looked for. */
export interface TraceStep {
  /** Milliseconds since the choice began. */
  readonly at_ms: number
  readonly candidate: 'direct_worker_wss' | 'backend_gateway' | 'unknown'
  readonly url: string
  readonly event: 'skipped' | 'trust_bundle' | 'probed' | 'opened' | 'failed' | 'bound' | 'chosen'
  /** Stable reason, such as `smoke_only_in_production`, `tls`, `timeout` or a close reason. */
  readonly reason: string
  /** The platform's own name of a failure, such as `ECONNREFUSED`, or the HTTP status of a refused upgrade. */
  readonly system_code?: string
  /** The trust bundle that the step is about, such as `rap-platform-ca:v2`. */
  readonly bundle?: string
  /** More about the reason, in words or as a code. */
  readonly detail?: string
}
