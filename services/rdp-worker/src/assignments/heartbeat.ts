import { RUNTIME_TRANSPORTS } from '@rap/data-plane-protocol'
import type { Logger, Redis } from '@rap/service-kit'

/** Time between two heartbeats, and how long one counts. */
const INTERVAL_MS = 5000
const TTL_SECONDS = 15

export interface HeartbeatOptions {
  readonly redis: Redis
  readonly logger: Logger
  readonly workerId: string
  readonly publicUrl: string
  readonly labels: Readonly<Record<string, string>>
  readonly version: string
  /** Read at each beat. */
  readonly load: () => { readonly sessions: number; readonly max_sessions: number; readonly traffic_ready: boolean }
}

/** Says every few seconds that this worker is there and how full it is. */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #startedAt = new Date().toISOString()
  readonly #timer: NodeJS.Timeout

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.beat(), INTERVAL_MS)
    this.#timer.unref()
  }

  /** Beats now; also on its own every few seconds. */
  async beat(): Promise<void> {
    const { redis, logger, workerId, publicUrl, labels, version, load } = this.#options
    const { traffic_ready, ...room } = load()
    const value = {
      worker_id: workerId,
      public_url: publicUrl,
      labels,
      load: room,
      version,
      runtime_transports: RUNTIME_TRANSPORTS,
      traffic_ready,
      started_at: this.#startedAt,
    }
    try {
      await redis.set(`rap:worker:${workerId}`, JSON.stringify(value), 'EX', TTL_SECONDS)
    } catch (error) {
      logger.warn({ event: 'heartbeat_not_written', err: error }, 'heartbeat not written')
    }
  }

  /** Takes this worker out of the choice at once. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#options.redis.del(`rap:worker:${this.#options.workerId}`).catch(() => undefined)
  }
}
