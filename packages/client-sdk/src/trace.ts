/** One thing that was decided or seen while a path to the desktop was looked for. */
export interface TraceStep {
  /** Milliseconds since the choice began. */
  readonly at_ms: number
  readonly candidate: 'direct_worker_wss' | 'backend_gateway' | 'unknown'
  readonly url: string
  readonly event: 'skipped' | 'probed' | 'opened' | 'failed' | 'bound' | 'chosen'
  /** Stable reason, such as `smoke_only_in_production`, `tls`, `timeout` or a close reason. */
  readonly reason: string
  /** The platform's own name of a failure, such as `ECONNREFUSED`, or the HTTP status of a refused upgrade. */
  readonly system_code?: string
}

/** The record of one choice: answers "why did I get the gateway?". It holds no token. */
export class Trace {
  readonly #startedAt: number
  readonly #now: () => number
  readonly #steps: TraceStep[] = []

  constructor(now: () => number) {
    this.#now = now
    this.#startedAt = now()
  }

  get steps(): readonly TraceStep[] {
    return this.#steps
  }

  add(step: Omit<TraceStep, 'at_ms'>): void {
    this.#steps.push({ at_ms: Math.round(this.#now() - this.#startedAt), ...step })
  }

  toJSON(): readonly TraceStep[] {
    return this.#steps
  }

  /** One line a step, for a log or a terminal. */
  toString(): string {
    return this.#steps
      .map(({ at_ms, candidate, url, event, reason, system_code }) => {
        const code = system_code === undefined ? '' : ` (${system_code})`
        return `+${at_ms}ms ${candidate} ${url}: ${event}: ${reason}${code}`
      })
      .join('\n')
  }
}
