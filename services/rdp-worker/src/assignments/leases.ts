import type { Logger, Redis } from '@rap/service-kit'
import type { AssignmentClaims } from '@rap/token-claims'

/** Life of a lease without renewal, in milliseconds; it is renewed every third of it. */
const LEASE_MS = 30_000

/**
 * Only an owner renews. A lease that is missing is set again, since Redis may have lost everything while the relay lives, and so is one that
 * is no text.
 */
const RENEW = `
local held = redis.pcall('GET', KEYS[1])
if held == false or held == ARGV[1] or type(held) == 'table' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0`

/** Only an owner gives up. */
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`

type Leased = Pick<AssignmentClaims, 'lease_id' | 'worker_id' | 'session_id' | 'attachment_id'>

export interface LeasesOptions {
  readonly redis: Redis
  readonly logger: Logger
  /** The lease is somebody else's now: the relay must end. */
  readonly onLost: (lease: Leased) => void
  /** Default LEASE_MS, renewed every third of it. */
  readonly leaseMs?: number | undefined
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
    const { leaseMs = LEASE_MS } = options
    this.#timer = setInterval(() => void this.#renewAll(), leaseMs / 3)
    this.#timer.unref()
  }

  hold(lease: Leased): void {
    this.#held.set(lease.lease_id, lease)
  }

  /** Gives the lease up; others see at once that it ended. Never rejects. */
  async release(leaseId: string): Promise<void> {
    const lease = this.#held.get(leaseId)
    this.#held.delete(leaseId)
    if (lease === undefined) return
    try {
      await this.#options.redis.eval(RELEASE, 1, keyOf(lease), leaseText(lease))
    } catch (error) {
      this.#options.logger.warn({ event: 'lease_not_released', err: error }, 'lease not released')
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #renewAll(): Promise<void> {
    const { redis, logger, onLost, leaseMs = LEASE_MS } = this.#options
    const leases = [...this.#held.values()]
    const answers = await Promise.allSettled(
      leases.map(lease => redis.eval(RENEW, 1, keyOf(lease), leaseText(lease), leaseMs)),
    )
    const failed = answers.filter(answer => answer.status === 'rejected')
    if (failed[0] !== undefined) {
      const err: unknown = failed[0].reason
      logger.warn({ event: 'leases_not_renewed', count: failed.length, err }, 'leases not renewed')
    }
    for (const [index, lease] of leases.entries()) {
      const answer = answers[index]
      // Only a clear word counts: an answer that failed says nothing about the owner.
      if (answer?.status !== 'fulfilled' || answer.value !== 0 || !this.#held.delete(lease.lease_id)) continue
      try {
        onLost(lease)
      } catch (error) {
        logger.error({ event: 'lease_end_failed', attachment_id: lease.attachment_id, err: error }, 'end failed')
      }
    }
  }
}

const keyOf = ({ lease_id }: Leased): string => `rap:lease:${lease_id}`

/** The same text as the control plane writes: the order of members is part of it. */
const leaseText = ({ lease_id, worker_id, session_id, attachment_id }: Leased): string =>
  JSON.stringify({ lease_id, worker_id, session_id, attachment_id })
