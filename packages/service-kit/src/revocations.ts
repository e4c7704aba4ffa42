import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { AuditEvent } from './audit.ts'
import { commonProblems, type ProblemError, type ProblemOptions } from './errors.ts'
import type { Logger } from './log.ts'
import { certifiedPeer, type PeerIdentity } from './mtls.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whom this server refuses although the certificate is valid; see `peerIdentity`. */
    readonly revocations: Revocations | undefined
  }
  interface FastifyContextConfig {
    /** How a revoked peer is refused at this route instead of with ERR_MTLS_IDENTITY; its handler does not run either way. */
    tellRevoked?: (peer: PeerIdentity, what: RevokedPart) => (options: ProblemOptions) => ProblemError
  }
}

/** One line of the register; `thumbprint` is null where the whole identity is revoked. */
export interface Revocation {
  readonly kind: string
  readonly id: string
  readonly thumbprint: string | null
}

/** What was taken back: everything of an identity, or one certificate of it. */
export type RevokedPart = 'identity' | 'certificate'

export interface RevocationsOptions {
  /** The whole register, as it is now. */
  readonly load: () => Promise<readonly Revocation[]>
  readonly logger: Logger
  /** Time between two readings, in milliseconds; a second when absent. */
  readonly intervalMs?: number
  /** Age at which a reading counts no more, in milliseconds; 15 s when absent. */
  readonly maxAgeMs?: number
  /** Monotonic clock, in milliseconds. */
  readonly now?: () => number
}

interface Reading {
  readonly identities: ReadonlySet<string>
  readonly thumbprints: ReadonlySet<string>
  readonly at: number
}

const INTERVAL_MS = 1000
/** A register that could not be read for so long says nothing about now. */
const MAX_AGE_MS = 15_000

const keyOf = ({ kind, id }: Pick<Revocation, 'kind' | 'id'>) => `${kind}/${id}`

/**
 * Who is refused although the certificate is valid, read from the register again and again.
 * INVARIANT: closed. Without a reading of the last `maxAgeMs` everybody counts as revoked.
 */
export class Revocations {
  readonly #options: RevocationsOptions
  readonly #now: () => number
  readonly #closed = new AbortController()
  #reading: Reading | undefined
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #failing = false

  constructor(options: RevocationsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Reads once and goes on by itself. Does not reject: a register that cannot be read refuses everybody until it can. */
  async start(): Promise<void> {
    await this.refresh()
    void this.#keepReading()
  }

  /** Resolves after a reading that began after this call, whether it succeeded or not. */
  refresh(): Promise<void> {
    if (this.#running === undefined) return this.#run()
    // The one under way may have read before what the caller wants to see.
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      return this.#run()
    })
    return this.#next
  }

  close(): void {
    this.#closed.abort()
  }

  /** True where there is a reading that counts. */
  get known(): boolean {
    return this.#reading !== undefined && this.#now() - this.#reading.at < (this.#options.maxAgeMs ?? MAX_AGE_MS)
  }

  isRevoked(peer: { readonly kind: string; readonly id: string; readonly thumbprint: string }): boolean {
    return this.revokedPart(peer) !== undefined
  }

  /** What of a peer is revoked; undefined where nothing is. */
  revokedPart(peer: {
    readonly kind: string
    readonly id: string
    readonly thumbprint: string
  }): RevokedPart | undefined {
    if (!this.known || this.#reading?.identities.has(keyOf(peer)) !== false) return 'identity'
    return this.#reading.thumbprints.has(peer.thumbprint) ? 'certificate' : undefined
  }

  #run(): Promise<void> {
    this.#running = this.#read().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #read(): Promise<void> {
    const { load, logger } = this.#options
    // Its age counts from the question: what was revoked after that may be missing in the answer.
    const at = this.#now()
    try {
      const rows = await load()
      this.#reading = {
        identities: new Set(rows.filter(row => row.thumbprint === null).map(keyOf)),
        thumbprints: new Set(rows.map(row => row.thumbprint).filter(thumbprint => thumbprint !== null)),
        at,
      }
      this.#failing = false
    } catch (err) {
      if (this.#closed.signal.aborted) return
      if (!this.#failing) logger.warn({ event: 'revocations_not_read', err }, 'register of revocations not read')
      this.#failing = true
    }
  }

  async #keepReading(): Promise<void> {
    const { signal } = this.#closed
    const intervalMs = this.#options.intervalMs ?? INTERVAL_MS
    while (!signal.aborted) {
      await delay(intervalMs, undefined, { signal, ref: false }).catch(() => {})
      if (!signal.aborted) await this.refresh()
    }
  }
}

/**
 * Refuses revoked peers on every route, before anything else runs, also on connections that were open before: with
 * ERR_MTLS_IDENTITY or what the route's `tellRevoked` says. While the register is not known, everybody with a certificate
 * is refused with ERR_UPSTREAM_UNAVAILABLE, so that nobody takes it for a revocation.
 */
export function refuseRevoked(app: FastifyInstance, revocations: Revocations | undefined): void {
  app.decorate('revocations', revocations)
  if (revocations === undefined) return
  app.addHook('onRequest', async request => {
    const peer = certifiedPeer(request)
    if (peer === undefined) return
    if (!revocations.known) {
      throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ facts: { received: 'no register of revocations' } })
    }
    const what = revocations.revokedPart(peer)
    if (what === undefined) return
    const { url: route = null, config } = request.routeOptions
    const problem = config.tellRevoked?.(peer, what) ?? commonProblems.ERR_MTLS_IDENTITY
    throw problem({
      facts: { received: `revoked ${keyOf(peer)}` },
      audit: refusalOf(peer, { what, method: request.method, route }),
    })
  })
}

/** The refusal of a revoked peer, for the audit. INVARIANT: nothing that the caller wrote is in it. */
function refusalOf(
  peer: PeerIdentity,
  details: { readonly what: RevokedPart; readonly method: string; readonly route: string | null },
): Partial<AuditEvent> {
  return {
    organization_id: null,
    event: 'revoked_peer_refused',
    actor: { kind: peer.kind, id: peer.id },
    worker_id: peer.kind === 'worker' ? peer.id : undefined,
    // Whoever fills an event up from a URL stops here.
    resource_id: undefined,
    outcome: 'refused',
    code: 'ERR_MTLS_IDENTITY',
    details: { ...details, thumbprint: peer.thumbprint },
  }
}
