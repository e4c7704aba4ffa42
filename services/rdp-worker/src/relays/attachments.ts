import type { CloseReason } from '@rap/data-plane-protocol'
import { type RelayEvent, WireError } from '@rap/rdp'
import type { InternalClient, Logger } from '@rap/service-kit'
import { type AssignmentClaims, decodeJti } from '@rap/token-claims'
import type { WorkerAudit } from '../control-plane/audit.ts'
import type { ControlPlane } from '../control-plane/client.ts'
import { type ResolvedCredentials, resolveCredentials } from '../credentials/resolve.ts'
import type { TargetPolicy } from '../target/address.ts'
import { TargetFailure } from '../target/failure.ts'
import { OPEN_TIMEOUT_MS, openTarget, type WarmTarget } from '../target/open.ts'
import type { WorkerMetrics } from '../worker-metrics.ts'
import type { Landing } from './landing.ts'
import { type ClientPort, Relay } from './relay.ts'
import { Reports } from './reports.ts'

/** How long a target that is logged on waits for its client, in milliseconds. */
const WARM_MS = 60_000
/** Longest time for the credential, in milliseconds; what it takes is taken from the time for the target. */
const RESOLVE_TIMEOUT_MS = 5000

/** `binding` while a bind is being authorised; nobody else may bind meanwhile. */
type State = 'opening' | 'warm' | 'binding' | 'bound' | 'closed'

/** One attachment on this worker. */
export interface LiveAttachment {
  readonly assignment: AssignmentClaims
  readonly state: State
}

interface Held {
  readonly assignment: AssignmentClaims
  readonly startedAt: number
  /** Aborted when the attachment ends, whatever it was doing. */
  readonly ended: AbortController
  state: State
  target: WarmTarget | undefined
  credentials: ResolvedCredentials | undefined
  relay: Relay | undefined
  warmTimer: NodeJS.Timeout | undefined
  /** Stops looking after a target that waits. */
  unwatch: () => void
  /** The report of `ready`; later ones wait for it, so that they arrive in order. */
  reported: Promise<unknown>
}

/** Times that tests shorten, in milliseconds. */
export interface AttachmentTimes {
  readonly warmMs?: number
  readonly handshakeTimeoutMs?: number
}

export interface AttachmentsOptions {
  readonly controlPlane: ControlPlane
  readonly audit: Pick<WorkerAudit, 'report'>
  /** The client of the secret-resolver for a lease token. */
  readonly resolverFor: (leaseToken: string) => InternalClient
  readonly leases: { hold(lease: AssignmentClaims): void; release(leaseId: string): Promise<void> }
  readonly targetPolicy: TargetPolicy
  readonly platformCa: () => string | Buffer
  readonly production: boolean
  readonly credSspMinimumVersion: number
  readonly maxSessions: number
  readonly landing: Landing
  readonly metrics: WorkerMetrics
  readonly logger: Logger
  readonly times?: AttachmentTimes | undefined
}

/** Every attachment of this worker, from its assignment to its end. INVARIANT: at most `maxSessions` are live. */
export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #reports: Reports
  readonly #held = new Map<string, Held>()
  /** Reports and releases under way; none of them rejects. */
  readonly #ending = new Set<Promise<void>>()
  #draining = false

  constructor(options: AttachmentsOptions) {
    this.#options = options
    this.#reports = new Reports(options)
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

  /** Takes an assignment: resolves, dials, logs on, and reports `ready` or why not. Never rejects. */
  async open(assignment: AssignmentClaims): Promise<void> {
    const { leases, maxSessions } = this.#options
    const { attachment_id: id } = assignment
    if (this.#held.has(id)) return
    if (this.#draining) return await this.#turnAway(assignment, new TargetFailure('ERR_WORKER_DRAINING'))
    if (this.#held.size >= maxSessions) return await this.#turnAway(assignment, new TargetFailure('ERR_WORKER_FULL'))
    const held: Held = {
      assignment,
      startedAt: performance.now(),
      ended: new AbortController(),
      state: 'opening',
      target: undefined,
      credentials: undefined,
      relay: undefined,
      warmTimer: undefined,
      unwatch: () => undefined,
      reported: Promise.resolve(),
    }
    this.#held.set(id, held)
    leases.hold(assignment)
    try {
      await this.#warmUp(held)
      this.#watchWarm(held)
    } catch (error) {
      // Ended meanwhile, which is reported: only what came too late is left to be cleared away.
      if (held.state === 'closed') clear(held)
      else this.#fail(held, error)
      return
    }
    await this.#reportReady(held)
  }

  /**
   * Gives the attachment to the client that asks for it. The answer is a claim, or why there is none: `absent` here, `bound` already, or `busy` with
   * its target or with another client.
   */
  claim(attachmentId: string): BindClaim | 'absent' | 'bound' | 'busy' {
    const held = this.#held.get(attachmentId)
    if (held === undefined) return 'absent'
    if (held.state !== 'warm') return held.state === 'bound' ? 'bound' : 'busy'
    held.state = 'binding'
    clearTimeout(held.warmTimer)
    return {
      assignment: held.assignment,
      bound: options => this.#bound(held, options),
      release: () => {
        if (held.state === 'binding') this.#wait(held)
      },
      abandon: () => this.#finish(held, 'client', {}),
    }
  }

  /**
   * The source of truth says that a client is bound. Where none is, its answer to the bind was lost, and no other bind of this attachment will be
   * granted: it ends, so that the user can attach again.
   */
  boundElsewhere(attachmentId: string): void {
    const held = this.#held.get(attachmentId)
    if (held?.state === 'warm') this.#finish(held, 'ERR_BIND_UNAVAILABLE', {})
  }

  /** A bind was granted for an attachment that this worker does not hold: it tells so. */
  async absent(place: { readonly attachment_id: string; readonly session_id: string }): Promise<void> {
    if (!this.#held.has(place.attachment_id)) await this.#reports.closed(place, 'ERR_BIND_UNAVAILABLE', {})
  }

  /** Ends an attachment: closes both ends, gives the lease up, and reports it. Safe to call twice. */
  end(attachmentId: string, reason: CloseReason): void {
    const held = this.#held.get(attachmentId)
    if (held === undefined) return
    if (held.relay !== undefined) held.relay.end(reason)
    else this.#finish(held, reason, {})
  }

  /** From now on every assignment is turned away; what is there goes on. */
  drain(): void {
    this.#draining = true
  }

  /** Ends every attachment, as a worker that stops does, and waits until all is reported. */
  async endAll(reason: CloseReason): Promise<void> {
    for (const id of this.ids()) this.end(id, reason)
    while (this.#ending.size > 0) await Promise.all(this.#ending)
  }

  async #warmUp(held: Held): Promise<void> {
    const { controlPlane, resolverFor, targetPolicy, platformCa, production, credSspMinimumVersion } = this.#options
    const { assignment, ended, startedAt } = held
    const { signal } = ended
    const lease = { token: assignment.lease_token, jti: decodeJti(assignment.lease_token) }
    held.credentials = await resolveCredentials(resolverFor(lease.token), lease, {
      signal,
      timeoutMs: RESOLVE_TIMEOUT_MS,
    })
    signal.throwIfAborted()
    held.target = await openTarget({
      target: assignment.target,
      credentials: held.credentials,
      policy: targetPolicy,
      platformCa: platformCa(),
      production,
      credSspMinimumVersion,
      report: (report, limit) => controlPlane.reportCertificate(assignment.attachment_id, report, limit),
      signal,
      timeoutMs: OPEN_TIMEOUT_MS - Math.round(performance.now() - startedAt),
    })
    signal.throwIfAborted()
  }

  /** A target that goes away or speaks while it waits ends the attachment. */
  #watchWarm(held: Held): void {
    const { target } = held
    if (target === undefined) return
    const { socket, refusalOf } = target
    const onReadable = (): void => {
      const bytes: Buffer | null = socket.read()
      if (bytes !== null) this.#fail(held, refusalOf(bytes))
    }
    const onClose = (): void => this.#finish(held, 'ERR_RELAY_TARGET_CLOSED', {})
    socket.on('readable', onReadable).once('close', onClose)
    held.unwatch = () => void socket.off('readable', onReadable).off('close', onClose)
    // Gone between the logon and here.
    if (socket.destroyed) this.#fail(held, new TargetFailure('ERR_TARGET_CLOSED'))
  }

  /** The client may come before the answer to the report does, so the attachment waits for it from here on. */
  async #reportReady(held: Held): Promise<void> {
    if (held.state === 'closed') return
    const { metrics, logger } = this.#options
    const { attachment_id, session_id } = held.assignment
    this.#wait(held)
    const report = this.#reports.ready(held.assignment)
    held.reported = report
    const answer = await report
    if (answer === 'taken') metrics.targetOpened('ready', performance.now() - held.startedAt)
    logger.info({ event: 'target_ready', attachment_id, session_id, outcome: answer }, 'target ready')
    // A client that is let in meanwhile shows that the control plane has heard of it.
    if (answer === 'taken' || held.state !== 'warm') return
    this.#finish(held, answer === 'refused' ? 'ERR_SESSION_TERMINATED' : 'ERR_BIND_UNAVAILABLE', {})
  }

  #wait(held: Held): void {
    const { warmMs = WARM_MS } = this.#options.times ?? {}
    held.state = 'warm'
    held.warmTimer = setTimeout(() => this.#finish(held, 'ERR_SESSION_DETACHED', {}), warmMs)
    held.warmTimer.unref()
  }

  #fail(held: Held, error: unknown): void {
    if (held.state === 'closed') return
    const { logger, metrics } = this.#options
    const { assignment } = held
    const { attachment_id, session_id } = assignment
    const failure =
      error instanceof TargetFailure ? error : new TargetFailure('ERR_WORKER_INTERNAL', {}, { cause: error })
    const { code, facts } = failure
    metrics.targetOpened(code, 0)
    logger.warn({ event: 'target_failed', attachment_id, session_id, code, facts, err: error }, 'target failed')
    this.#forget(held, async () => {
      if (/^ERR_TARGET_(CERTIFICATE|IDENTITY)_/.test(code)) {
        await this.#reports.audit(assignment, 'target_certificate_refused', code, facts)
      }
      await this.#reports.failed(assignment, failure.failure)
    })
  }

  #bound(held: Held, { client, channels, clientRequestedProtocols }: BoundOptions): Relay | undefined {
    const { target } = held
    if (held.state !== 'binding' || target === undefined) return undefined
    held.unwatch()
    held.state = 'bound'
    try {
      const relay: Relay = new Relay({
        target,
        client,
        landing: this.#options.landing,
        credentials: held.credentials,
        channels: new Set(channels),
        renderQualityProfile: held.assignment.target.render_quality_profile,
        clientRequestedProtocols,
        handshakeTimeoutMs: this.#options.times?.handshakeTimeoutMs,
        onEvent: event => this.#onRelayEvent(held, event),
        onEnd: (reason, error) => {
          if (error !== undefined) this.#onRelayError(held, reason, error)
          this.#options.metrics.relayEnded(reason, relay.stats)
          this.#finish(held, reason, relay.stats)
        },
      })
      held.relay = relay
      return relay
    } catch (error) {
      this.#finish(held, 'ERR_INTERNAL', {})
      throw error
    }
  }

  #onRelayEvent({ assignment }: Held, event: RelayEvent): void {
    const { attachment_id } = assignment
    switch (event.type) {
      case 'credentials_used':
        return
      case 'channel_refused': {
        const { kind, name: channel, direction } = event
        void this.#reports.audit(assignment, 'channel_refused', 'ERR_CHANNEL_REFUSED', { kind, channel, direction })
        return
      }
      case 'server_redirection_refused':
        void this.#reports.audit(assignment, 'server_redirection_refused', 'ERR_RELAY_SERVER_REDIRECTION', {})
        return
      default: {
        const { type, ...facts } = event
        this.#options.logger.info({ event: 'relay_event', attachment_id, relay_event: type, facts }, 'relay event')
      }
    }
  }

  #onRelayError({ assignment }: Held, code: string, error: unknown): void {
    const { attachment_id } = assignment
    const { logger } = this.#options
    if (!(error instanceof WireError)) {
      logger.error({ event: 'relay_failed', attachment_id, code, err: error }, 'relay failed')
      return
    }
    logger.warn({ event: 'relay_refused', attachment_id, code, err: error }, 'relay refused')
    if (code === 'ERR_RELAY_SERVER_REDIRECTION') return
    const { structure = '', field = '' } = error.facts
    const details = { wire_code: error.code, structure, field }
    void this.#reports.audit(assignment, 'relay_protocol_violation', code, details)
  }

  #finish(held: Held, reason: CloseReason | 'client', stats: object): void {
    if (held.state === 'closed') return
    const { assignment } = held
    const { attachment_id, session_id } = assignment
    this.#options.logger.info(
      { event: 'attachment_ended', attachment_id, session_id, reason, ...stats },
      'attachment ended',
    )
    this.#forget(held, () => this.#reports.closed(assignment, reason === 'client' ? 'client_closed' : reason, stats))
  }

  /** Lets go of all that the attachment held at once; then the lease is given up and the end is reported. */
  #forget(held: Held, report: () => Promise<void>): void {
    held.state = 'closed'
    this.#held.delete(held.assignment.attachment_id)
    held.ended.abort()
    clear(held)
    this.#track(
      Promise.all([this.#options.leases.release(held.assignment.lease_id), held.reported.then(report)]).then(
        () => undefined,
      ),
    )
  }

  async #turnAway(assignment: AssignmentClaims, { code, failure }: TargetFailure): Promise<void> {
    this.#options.metrics.targetOpened(code, 0)
    const report = this.#reports.failed(assignment, failure)
    this.#track(report)
    await report
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch(error => this.#options.logger.error({ event: 'attachment_end_failed', err: error }, 'end failed'))
      .finally(() => this.#ending.delete(tracked))
    this.#ending.add(tracked)
  }
}

/** Closes the target and zeroes the credential; safe to call twice, and for what came after the end. */
function clear(held: Held): void {
  clearTimeout(held.warmTimer)
  held.unwatch()
  held.credentials?.destroy()
  held.target?.socket.destroy()
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
