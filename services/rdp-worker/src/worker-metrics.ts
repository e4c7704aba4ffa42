import type { CloseReason, UploadRefusal } from '@rap/data-plane-protocol'
import { Counter, Gauge, Histogram, type Metrics } from '@rap/service-kit'
import type { RelayStats } from './relays/relay.ts'

/** Numbers read when somebody looks. */
export interface WorkerGauges {
  sessions(): number
  relays(): number
  pausedTargets(): number
  connections(): number
  unboundConnections(): number
  certificates(): number
}

/** What the worker counts. Labels are stable codes: their number is bounded, and none is an id. */
export class WorkerMetrics {
  readonly #targets: Counter<'outcome'>
  readonly #openSeconds: Histogram
  readonly #binds: Counter<'outcome' | 'runtime_transport'>
  readonly #ends: Counter<'reason'>
  readonly #bytes: Counter<'direction'>
  readonly #pauses: Counter
  readonly #uploads: Counter<'outcome'>
  readonly #uploadBytes: Counter
  readonly #registry: Metrics['registry']

  constructor({ registry }: Metrics) {
    const registers = [registry]
    this.#registry = registry
    this.#targets = new Counter({
      name: 'rap_worker_targets_opened_total',
      help: 'Targets that were opened, by outcome: ready, or the code of the failure',
      labelNames: ['outcome'],
      registers,
    })
    this.#openSeconds = new Histogram({
      name: 'rap_worker_target_open_seconds',
      help: 'Time from the assignment to a target that is logged on and reported',
      buckets: [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15],
      registers,
    })
    this.#binds = new Counter({
      name: 'rap_worker_binds_total',
      help: 'Binds, by runtime transport and outcome: bound, or the reason of the refusal',
      labelNames: ['outcome', 'runtime_transport'],
      registers,
    })
    this.#ends = new Counter({
      name: 'rap_worker_relays_ended_total',
      help: 'Relays that ended, by reason',
      labelNames: ['reason'],
      registers,
    })
    this.#bytes = new Counter({
      name: 'rap_worker_relayed_bytes_total',
      help: 'RDP bytes of relays that have ended, by direction',
      labelNames: ['direction'],
      registers,
    })
    this.#pauses = new Counter({
      name: 'rap_worker_target_pauses_total',
      help: 'How often a target was paused because its client was behind, over relays that have ended',
      registers,
    })
    this.#uploads = new Counter({
      name: 'rap_worker_uploads_total',
      help: 'Uploads by outcome: ready, or the code of the refusal',
      labelNames: ['outcome'],
      registers,
    })
    this.#uploadBytes = new Counter({
      name: 'rap_worker_upload_bytes_total',
      help: 'Bytes of uploads that were written to the disk',
      registers,
    })
  }

  uploadBytes(bytes: number): void {
    this.#uploadBytes.inc(bytes)
  }

  uploadEnded(outcome: 'ready' | UploadRefusal): void {
    this.#uploads.inc({ outcome })
  }

  /** `outcome` is `ready` or a failure's code. */
  targetOpened(outcome: string, elapsedMs: number): void {
    this.#targets.inc({ outcome })
    if (outcome === 'ready') this.#openSeconds.observe(elapsedMs / 1000)
  }

  bind(runtimeTransport: string, outcome: 'bound' | CloseReason): void {
    this.#binds.inc({ runtime_transport: runtimeTransport, outcome })
  }

  relayEnded(reason: CloseReason | 'client', stats: RelayStats): void {
    this.#ends.inc({ reason })
    this.#bytes.inc({ direction: 'to_client' }, stats.to_client_bytes)
    this.#bytes.inc({ direction: 'to_target' }, stats.to_target_bytes)
    this.#pauses.inc(stats.paused_count)
  }

  /** Once, when there is a store for uploads. */
  watchUploads(stores: { readonly storedBytes: number }): void {
    this.#gauge('rap_worker_upload_stored_bytes', 'Bytes of uploads that are on the disk now', () => stores.storedBytes)
  }

  /** Once, when the parts are there that the numbers are read from. */
  watch(gauges: WorkerGauges): void {
    const gauge = (name: string, help: string, read: () => number): void => this.#gauge(name, help, read)
    gauge('rap_worker_sessions', 'Attachments that this worker holds', gauges.sessions)
    gauge('rap_worker_relays', 'Relays between a bound client and its target', gauges.relays)
    gauge('rap_worker_paused_targets', 'Targets that are not read because their client is behind', gauges.pausedTargets)
    gauge('rap_worker_connections', 'WebSocket connections', gauges.connections)
    gauge('rap_worker_unbound_connections', 'WebSocket connections that have not bound yet', gauges.unboundConnections)
    gauge(
      'rap_worker_data_plane_certificates',
      'Certificates that connections of the data plane may have begun with; 1 unless some outlive a renewal',
      gauges.certificates,
    )
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read())
      },
    })
  }
}
