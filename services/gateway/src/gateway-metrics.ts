import { Counter, Gauge, Histogram, type Metrics } from '@rap/service-kit'

/** The gateway's own series; labels are from closed lists, so that no client can make one. */
export function gatewayMetrics({ registry }: Metrics) {
  const registers = [registry]
  return {
    connections: new Gauge({
      name: 'rap_gateway_connections',
      help: 'Connections now, by state',
      labelNames: ['state'] as const,
      registers,
    }),
    refusals: new Counter({
      name: 'rap_gateway_refusals_total',
      help: 'Connections that were refused, by the reason in the log',
      labelNames: ['reason'] as const,
      registers,
    }),
    relayedBytes: new Counter({
      name: 'rap_gateway_relayed_bytes_total',
      help: 'Message bytes that were passed on',
      labelNames: ['direction'] as const,
      registers,
    }),
    pauses: new Counter({
      name: 'rap_gateway_pauses_total',
      help: 'How often a sender was held back because its receiver was slow',
      labelNames: ['direction'] as const,
      registers,
    }),
    dialSeconds: new Histogram({
      name: 'rap_gateway_worker_dial_seconds',
      help: 'Time from a verified token to an open connection to its worker',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    auditReports: new Counter({
      name: 'rap_gateway_audit_reports_total',
      help: 'Reports of refused binds to the control plane, by outcome; what failed is reported again',
      labelNames: ['outcome'] as const,
      registers,
    }),
    directoryPolls: new Counter({
      name: 'rap_gateway_directory_polls_total',
      help: 'Questions to the control plane for its directory of workers, by outcome',
      labelNames: ['outcome'] as const,
      registers,
    }),
    revokedRelays: new Counter({
      name: 'rap_gateway_revoked_relays_total',
      help: 'Live relays that were closed because their worker, or its certificate, was revoked',
      registers,
    }),
    keySetFetches: new Counter({
      name: 'rap_gateway_key_set_fetches_total',
      help: 'Fetches of the verification keys, by outcome',
      labelNames: ['outcome'] as const,
      registers,
    }),
  }
}

export type GatewayMetrics = ReturnType<typeof gatewayMetrics>
