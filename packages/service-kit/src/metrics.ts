import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  /** Register a service's own metrics here: `new Counter({ …, registers: [metrics.registry] })`. */
  readonly registry: Registry
  readonly httpRequestSeconds: Histogram<'method' | 'route' | 'status'>
}

/** A registry with the process metrics of Node and the HTTP histogram; every series carries the label `service`. */
export function createMetrics({ service }: { service: string }): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ service })
  collectDefaultMetrics({ register: registry })
  const httpRequestSeconds = new Histogram({
    name: 'rap_http_request_duration_seconds',
    // The label is the route's pattern. A raw URL would make one series for each id and would put ids into the metrics.
    help: 'Time from the first byte of a request to the end of its answer, by route pattern',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  })
  return { registry, httpRequestSeconds }
}

export { Counter, Gauge, Histogram }
