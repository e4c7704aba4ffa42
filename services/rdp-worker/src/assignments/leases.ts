import type { Logger, Redis } from '@rap/service-kit'
import type { AssignmentClaims } from '@rap/token-claims'

/** Life of a lease without renewal, and time between two renewals, in milliseconds. */
const LEASE_MS = 30_000
const RENEW_MS = 10_000

/** Only an owner renews; a lease that is missing is set again, since Redis may have lost everything while the relay lives. */
const RENEW = `
local held = redis.call('GET', KEYS[1])
if held == false or held == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0`

type Leased = Pick<AssignmentClaims, 'lease_id' | 'worker_id' | 'session_id' | 'attachment_id'>

export interface LeasesOptions {
  readonly redis: Redis
  readonly logger: Logger
  /** The lease is somebody else's now: the relay must end. */
  readonly onLost: (lease: Leased) => void
}

/**
 * Keeps the leases of live attachments alive.
 *
 * Redis that is away ends no relay: the source of truth decides, and the poll of attachments asks it.
 */
export class Leases {
  readonly #options: LeasesOptions
  readonly #held = new Map<string, Leased>()
  readonly #timer: NodeJS.Timeout

  constructor(options: LeasesOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#renewAll(), RENEW_MS)
    this.#timer.unref()
  }

  hold(lease: Leased): void {
    this.#held.set(lease.lease_id, lease)
  }

  /** Gives the lease up; others see at once that it ended. */
  async release(leaseId: string): Promise<void> {
    const lease = this.#held.get(leaseId)
    this.#held.delete(leaseId)
    if (lease === undefined) return
    try {
      await this.#options.redis.del(keyOf(lease))
    } catch (error) {
      this.#options.logger.warn({ event: 'lease_not_released', err: error }, 'lease not released')
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #renewAll(): Promise<void> {
    const { redis, logger, onLost } = this.#options
    const leases = [...this.#held.values()]
    try {
      const kept = await Promise.all(
        leases.map(lease => redis.eval(RENEW, 1, keyOf(lease), leaseText(lease), LEASE_MS)),
      )
      for (const [index, lease] of leases.entries()) {
        if (kept[index] === 1 || !this.#held.delete(lease.lease_id)) continue
        onLost(lease)
      }
    } catch (error) {
      logger.warn({ event: 'leases_not_renewed', count: leases.length, err: error }, 'leases not renewed')
    }
  }
}

const keyOf = ({ lease_id }: Leased): string => `rap:lease:${lease_id}`

/** The same text as the control plane writes: the order of members is part of it. */
const leaseText = ({ lease_id, worker_id, session_id, attachment_id }: Leased): string =>
  JSON.stringify({ lease_id, worker_id, session_id, attachment_id })
