import type { CloseReason } from '@rap/data-plane-protocol'
import { type RelayEvent, WireError } from '@rap/rdp'
import type { InternalClient, Logger } from '@rap/service-kit'
import { type AssignmentClaims, decodeJti } from '@rap/token-claims'
import type { AuditReport, ControlPlane } from '../control-plane/client.ts'
import { resolveCredentials } from '../credentials/resolve.ts'
import type { TargetPolicy } from '../target/address.ts'
import { TargetFailure } from '../target/failure.ts'
import { openTarget, type WarmTarget } from '../target/open.ts'
import type { WorkerMetrics } from '../worker-metrics.ts'
import type { Landing } from './landing.ts'
import { type ClientPort, Relay } from './relay.ts'

/** How long a target that is logged on waits for its client, in milliseconds. */
const WARM_MS = 60_000
/** Pause between two tries to report an end, in milliseconds; the control plane may be restarting. */
const REPORT_RETRY_MS = [200, 1000, 3000] as const

/** `binding` while a bind is being authorised; nobody else may bind meanwhile. */
type State = 'opening' | 'warm' | 'binding' | 'bound' | 'closed'

/** One attachment on this worker. */
export interface LiveAttachment {
  readonly assignment: AssignmentClaims
  readonly state: State
}

interface Held {
  readonly assignment: AssignmentClaims
  /** Aborted when the attachment ends, whatever it was doing. */
  readonly ended: AbortController
  state: State
  target: WarmTarget | undefined
  credentials: Awaited<ReturnType<typeof resolveCredentials>> | undefined
  relay: Relay | undefined
  warmTimer: NodeJS.Timeout | undefined
}

export interface AttachmentsOptions {
  readonly controlPlane: ControlPlane
  readonly resolver: InternalClient
  readonly leases: { hold(lease: AssignmentClaims): void; release(leaseId: string): Promise<void> }
  readonly targetPolicy: TargetPolicy
  readonly platformCa: () => string | Buffer
  readonly production: boolean
  readonly credSspMinimumVersion: number
  readonly maxSessions: number
  readonly landing: Landing
  readonly metrics: WorkerMetrics
  readonly logger: Logger
}

/** Every attachment of this worker, from its assignment to its end. INVARIANT: at most `maxSessions` are live. */
export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #held = new Map<string, Held>()

  constructor(options: AttachmentsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#held.size
  }

  ids(): string[] {
    return [...this.#held.keys()]
  }

  /** The relays of bound clients. */
  get relays(): Relay[] {
    return [...this.#held.values()].flatMap(({ relay }) => (relay === undefined ? [] : [relay]))
  }

  find(attachmentId: string): LiveAttachment | undefined {
    return this.#held.get(attachmentId)
  }

  /** Takes an assignment: resolves, dials, logs on, and reports `ready` or why not. */
  async open(assignment: AssignmentClaims): Promise<void> {
    const { leases, maxSessions, logger, metrics, controlPlane } = this.#options
    const { attachment_id: id } = assignment
    const startedAt = performance.now()
    if (this.#held.has(id)) return
    if (this.#held.size >= maxSessions)
      return await this.#reportFailed(assignment, new TargetFailure('ERR_WORKER_FULL'))
    const held: Held = {
      assignment,
      ended: new AbortController(),
      state: 'opening',
      target: undefined,
      credentials: undefined,
      relay: undefined,
      warmTimer: undefined,
    }
    this.#held.set(id, held)
    leases.hold(assignment)
    try {
      await this.#warmUp(held)
      held.ended.signal.throwIfAborted()
      await controlPlane.reportReady(id)
      held.ended.signal.throwIfAborted()
      held.state = 'warm'
      held.warmTimer = setTimeout(() => void this.end(id, 'ERR_SESSION_DETACHED'), WARM_MS)
      metrics.targetOpened('ready', performance.now() - startedAt)
      logger.info({ event: 'target_ready', attachment_id: id, session_id: assignment.session_id }, 'target ready')
    } catch (error) {
      await this.#openFailed(held, error)
    }
  }

  /**
   * Gives the attachment to the client that asks for it, if it waits for one. The answer is a claim: `bound` makes the relay, `release` lets it wait on.
   */
  claim(attachmentId: string): BindClaim | undefined {
    const held = this.#held.get(attachmentId)
    if (held?.state !== 'warm') return undefined
    held.state = 'binding'
    return {
      assignment: held.assignment,
      bound: options => this.#bound(held, options),
      release: () => {
        if (held.state === 'binding') held.state = 'warm'
      },
      abandon: () => void this.#finish(held, 'client', {}),
    }
  }

  /** Ends an attachment: closes both ends, gives the lease up, and reports it. Safe to call twice. */
  async end(attachmentId: string, reason: CloseReason): Promise<void> {
    const held = this.#held.get(attachmentId)
    if (held === undefined) return
    if (held.relay !== undefined) held.relay.end(reason)
    else await this.#finish(held, reason, {})
  }

  /** Ends every attachment, as a worker that stops does. */
  async endAll(reason: CloseReason): Promise<void> {
    await Promise.all(this.ids().map(id => this.end(id, reason)))
  }

  async #warmUp(held: Held): Promise<void> {
    const { resolver, targetPolicy, platformCa, production, credSspMinimumVersion } = this.#options
    const { assignment, ended } = held
    const lease = { token: assignment.lease_token, jti: decodeJti(assignment.lease_token) }
    held.credentials = await resolveCredentials(resolver, lease, ended.signal)
    held.target = await openTarget({
      target: assignment.target,
      credentials: held.credentials,
      policy: targetPolicy,
      platformCa: platformCa(),
      production,
      credSspMinimumVersion,
      signal: ended.signal,
    })
    // A target that goes away while it waits ends the attachment; reading nothing, one is told by `close` only.
    held.target.socket.once('close', () => {
      if (held.relay === undefined) void this.end(assignment.attachment_id, 'ERR_RELAY_TARGET_CLOSED')
    })
  }

  async #openFailed(held: Held, error: unknown): Promise<void> {
    const { logger } = this.#options
    // Ended meanwhile by the control plane, which needs no report.
    if (held.state === 'closed') return
    this.#forget(held)
    const failure =
      error instanceof TargetFailure ? error : new TargetFailure('ERR_WORKER_INTERNAL', {}, { cause: error })
    const { attachment_id, session_id } = held.assignment
    this.#options.metrics.targetOpened(failure.code, 0)
    logger.warn(
      { event: 'target_failed', attachment_id, session_id, code: failure.code, facts: failure.facts, err: error },
      'target failed',
    )
    if (failure.code.startsWith('ERR_TARGET_CERTIFICATE_')) {
      await this.#audit(held, 'target_certificate_refused', failure.code, failure.facts)
    }
    await this.#reportFailed(held.assignment, failure)
    await this.#options.leases.release(held.assignment.lease_id)
  }

  #bound(held: Held, { client, channels, clientRequestedProtocols }: BoundOptions): Relay | undefined {
    const { target } = held
    if (held.state !== 'binding' || target === undefined) return undefined
    clearTimeout(held.warmTimer)
    held.state = 'bound'
    const relay = new Relay({
      target,
      client,
      landing: this.#options.landing,
      credentials: held.credentials,
      channels: new Set(channels),
      renderQualityProfile: held.assignment.target.render_quality_profile,
      clientRequestedProtocols,
      onEvent: event => this.#onRelayEvent(held, event),
      onEnd: (reason, error) => {
        if (error !== undefined) this.#onRelayError(held, reason, error)
        this.#options.metrics.relayEnded(reason, relay.stats)
        void this.#finish(held, reason, relay.stats)
      },
    })
    held.relay = relay
    return relay
  }

  #onRelayEvent(held: Held, event: RelayEvent): void {
    const { attachment_id } = held.assignment
    switch (event.type) {
      case 'credentials_used':
        return
      case 'channel_refused':
        void this.#audit(held, 'channel_refused', 'ERR_CHANNEL_REFUSED', {
          kind: event.kind,
          channel: event.name,
          direction: event.direction,
        })
        return
      case 'server_redirection_refused':
        void this.#audit(held, 'target_redirection_refused', 'ERR_RELAY_SERVER_REDIRECTION', {})
        return
      default: {
        const { type, ...facts } = event
        this.#options.logger.info({ event: 'relay_event', attachment_id, relay_event: type, facts }, 'relay event')
      }
    }
  }

  #onRelayError(held: Held, code: string, error: unknown): void {
    const { attachment_id } = held.assignment
    const { logger } = this.#options
    if (!(error instanceof WireError)) {
      logger.error({ event: 'relay_failed', attachment_id, code, err: error }, 'relay failed')
      return
    }
    logger.warn({ event: 'relay_refused', attachment_id, code, err: error }, 'relay refused')
    if (code === 'ERR_RELAY_SERVER_REDIRECTION') return
    const { structure = '', field = '' } = error.facts
    void this.#audit(held, 'relay_protocol_violation', code, { wire_code: error.code, structure, field })
  }

  async #finish(held: Held, reason: CloseReason | 'client', stats: object): Promise<void> {
    if (held.state === 'closed') return
    this.#forget(held)
    const { attachment_id, lease_id, session_id } = held.assignment
    this.#options.logger.info(
      { event: 'attachment_ended', attachment_id, session_id, reason, ...stats },
      'attachment ended',
    )
    await this.#options.leases.release(lease_id)
    const word = reason === 'client' ? 'client_closed' : reason
    await this.#reported(() => this.#options.controlPlane.reportClosed(attachment_id, word, { ...stats }))
  }

  #forget(held: Held): void {
    held.state = 'closed'
    this.#held.delete(held.assignment.attachment_id)
    clearTimeout(held.warmTimer)
    held.ended.abort()
    held.credentials?.destroy()
    held.target?.socket.destroy()
  }

  async #reportFailed(assignment: AssignmentClaims, { failure }: TargetFailure): Promise<void> {
    await this.#reported(() => this.#options.controlPlane.reportFailed(assignment.attachment_id, failure))
  }

  /** A report that is lost costs nothing but time: the lease is given up, and the control plane sees that. */
  async #reported(report: () => Promise<void>): Promise<void> {
    for (const pause of [...REPORT_RETRY_MS, undefined]) {
      try {
        await report()
        return
      } catch (error) {
        const status = (error as { status?: number }).status
        // Refused, so it is known there: the attachment was ended from that side.
        if (status !== undefined && status < 500) return
        if (pause === undefined) {
          this.#options.logger.warn({ event: 'report_lost', err: error }, 'report lost')
          return
        }
        await new Promise(resolve => setTimeout(resolve, pause))
      }
    }
  }

  async #audit(
    held: Held,
    event: AuditReport['event'],
    code: string,
    details: Readonly<Record<string, string | number | boolean>>,
  ): Promise<void> {
    const { session_id, attachment_id } = held.assignment
    try {
      await this.#options.controlPlane.audit({ event, session_id, attachment_id, code, details })
    } catch (error) {
      this.#options.logger.warn({ event: 'audit_not_written', code, err: error }, 'audit not written')
    }
  }
}

/** What a transport brings to a relay. */
export interface BoundOptions {
  readonly client: ClientPort
  readonly channels: readonly AssignmentClaims['allowed_channels'][number][]
  readonly clientRequestedProtocols: number
}

/** A warm attachment that one client is being authorised for. */
export interface BindClaim {
  readonly assignment: AssignmentClaims
  /** Makes the relay, which the caller starts; undefined where the attachment ended meanwhile. */
  bound(options: BoundOptions): Relay | undefined
  /** The bind was refused: the attachment waits on. */
  release(): void
  /** The bind was granted, and the client is gone: the attachment ends. */
  abandon(): void
}
