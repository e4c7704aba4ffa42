import { Counter, Gauge, type Metrics } from '../metrics.ts'

/** How a renewal, or the reading of changed files, ended. */
export type RenewalOutcome = 'renewed' | 'failed'

/** The series of one identity; nothing where there are no metrics. */
export class IdentityMetrics {
  readonly #notAfter: Gauge | undefined
  readonly #renewals: Counter<'outcome'> | undefined

  constructor(metrics: Metrics | undefined) {
    if (metrics === undefined) return
    const registers = [metrics.registry]
    this.#notAfter = new Gauge({
      name: 'rap_identity_not_after_seconds',
      help: 'When the platform certificate of this service ends, in seconds since the epoch',
      registers,
    })
    this.#renewals = new Counter({
      name: 'rap_identity_renewals_total',
      help: 'Changes of the platform certificate of this service while it runs',
      labelNames: ['outcome'] as const,
      registers,
    })
    // A series that is there from the start can be alerted on.
    for (const outcome of ['renewed', 'failed']) this.#renewals.inc({ outcome }, 0)
  }

  inForceUntil(notAfterMs: number): void {
    this.#notAfter?.set(Math.floor(notAfterMs / 1000))
  }

  renewal(outcome: RenewalOutcome): void {
    this.#renewals?.inc({ outcome })
  }
}
