import type { CloseReason } from '@rap/data-plane-protocol'
import type { RelayPolicy } from '@rap/rdp'
import type { InternalClient, Logger } from '@rap/service-kit'
import { type Channel, isRdpChannel } from '@rap/session-policy'
import { type AssignmentClaims, decodeJti } from '@rap/token-claims'
import type { WorkerAudit } from '../control-plane/audit.ts'
import type { ControlPlane } from '../control-plane/client.ts'
import { type ResolvedCredentials, resolveCredentials } from '../credentials/resolve.ts'
import { isSamePolicy, narrowed, type RuntimePolicy } from '../sessions/runtime-policy.ts'
import type { LiveSession, Sessions } from '../sessions/sessions.ts'
import { SideChannels } from '../side/side-channels.ts'
import type { TargetPolicy } from '../target/address.ts'
import { TargetFailure } from '../target/failure.ts'
import { OPEN_TIMEOUT_MS, openTarget, type WarmTarget } from '../target/open.ts'
import type { WorkerMetrics } from '../worker-metrics.ts'
import type { Landing } from './landing.ts'
import { LimitWatch } from './limit-watch.ts'
import { type ClientPort, Relay } from './relay.ts'
import { Reports } from './reports.ts'
import { Witness } from './witness.ts'

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
  /** In force for connections from now on; a relay may have fewer channels. */
  policy: RuntimePolicy
  readonly session: LiveSession
  readonly side: SideChannels
  readonly witness: Witness
  /** Grows with what the person does beside the relay. */
  uploads: number
  limits: LimitWatch | undefined
  /** Tells connections that have nothing but side channels. */
  readonly onEnded: Set<(reason: CloseReason) => void>
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
  /** Length of a second of a policy's limits. */
  readonly secondMs?: number
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
  readonly sessions: Sessions
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

  /** Whether an attachment of this session is here. */
  hasSession(sessionId: string): boolean {
    return [...this.#held.values()].some(({ assignment }) => assignment.session_id === sessionId)
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
    const held = this.#hold(assignment)
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
      bound: (options, policy) => this.#bound(held, options, policy),
      release: () => {
        if (held.state === 'binding') this.#wait(held)
      },
      abandon: () => this.#finish(held, 'client', {}),
    }
  }

  /** Lets a connection beside the desktop's own in: for channels that are not inside RDP. `absent` here, or `busy` with its target. */
  claimSide(attachmentId: string): SideClaim | 'absent' | 'busy' {
    const held = this.#held.get(attachmentId)
    if (held === undefined) return 'absent'
    if (held.state === 'opening') return 'busy'
    return {
      assignment: held.assignment,
      bound: (policy, onEnded) => {
        if (held.state === 'closed') return undefined
        this.#setPolicy(held, policy)
        held.onEnded.add(onEnded)
        return { channels: held.side, left: () => held.onEnded.delete(onEnded) }
      },
    }
  }

  /** What the source of truth says that an attachment may do from now on. */
  setPolicy(attachmentId: string, policy: RuntimePolicy): void {
    const held = this.#held.get(attachmentId)
    if (held !== undefined) this.#setPolicy(held, policy)
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

  #hold(assignment: AssignmentClaims): Held {
    const { sessions, logger } = this.#options
    const session = sessions.of(assignment.session_id)
    const policy: RuntimePolicy = {
      channels: assignment.allowed_channels,
      limits: assignment.limits,
      endsAt: undefined,
    }
    const side = new SideChannels({
      uploads: session.uploads,
      policy,
      onActivity: () => {
        held.uploads++
      },
      onUpload: outcome => held.witness.upload(outcome),
      onError: error => logger.error({ event: 'upload_failed', err: error }, 'upload failed'),
    })
    const held: Held = {
      assignment,
      startedAt: performance.now(),
      ended: new AbortController(),
      state: 'opening',
      target: undefined,
      credentials: undefined,
      relay: undefined,
      policy,
      session,
      side,
      witness: new Witness({ assignment, session, side, reports: this.#reports, logger }),
      uploads: 0,
      limits: undefined,
      onEnded: new Set(),
      warmTimer: undefined,
      unwatch: () => undefined,
      reported: Promise.resolve(),
    }
    return held
  }

  #setPolicy(held: Held, said: RuntimePolicy): void {
    const policy = narrowed(held.policy, said)
    if (isSamePolicy(policy, held.policy)) return
    const { attachment_id } = held.assignment
    this.#options.logger.info({ event: 'policy_in_force', attachment_id, channels: policy.channels }, 'policy in force')
    held.policy = policy
    const { relay } = held
    // What is taken away is taken away before anybody hears of it.
    relay?.setPolicy(relayPolicyOf(held, relay.channels))
    held.side.setPolicy(policy)
    held.limits?.setPolicy(policy)
    // A connection that may carry nothing any more is not kept open for its own sake.
    if (!policy.channels.some(isRdpChannel)) relay?.end('ERR_SESSION_POLICY')
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
    this.#forget(held, 'ERR_RELAY_TARGET_LOST', async () => {
      if (/^ERR_TARGET_(CERTIFICATE|IDENTITY)_/.test(code)) {
        await this.#reports.audit(assignment, 'target_certificate_refused', code, facts)
      }
      await this.#reports.failed(assignment, failure.failure)
    })
  }

  #bound(held: Held, options: BoundOptions, policy: RuntimePolicy): BoundAttachment | undefined {
    const { client, channels, clientRequestedProtocols } = options
    const { target } = held
    if (held.state !== 'binding' || target === undefined) return undefined
    held.unwatch()
    held.state = 'bound'
    this.#setPolicy(held, policy)
    // The drive belongs to the desktop, whichever connection brings the files.
    const drive = held.policy.channels.includes('file_upload') ? held.session.uploads : undefined
    const driveChannel: readonly Channel[] = drive === undefined ? [] : ['file_upload']
    try {
      const relay: Relay = new Relay({
        target,
        client,
        landing: this.#options.landing,
        credentials: held.credentials,
        policy: relayPolicyOf(held, new Set([...channels.filter(isRdpChannel), ...driveChannel])),
        drive,
        clientRequestedProtocols,
        handshakeTimeoutMs: this.#options.times?.handshakeTimeoutMs,
        onEvent: event => held.witness.relayEvent(event),
        onEnd: (reason, error) => {
          if (error !== undefined) held.witness.relayError(reason, error)
          this.#options.metrics.relayEnded(reason, relay.stats)
          this.#finish(held, reason, relay.stats)
        },
      })
      held.relay = relay
      held.unwatch = held.session.uploads.onChange(() => relay.driveChanged())
      held.limits = new LimitWatch({
        policy: held.policy,
        activity: () => relay.activity + held.uploads,
        onNear: (limit, seconds_left) => held.side.notify({ type: 'limit_near', limit, seconds_left }),
        onReached: reason => relay.end(reason),
        secondMs: this.#options.times?.secondMs ?? 1000,
      })
      return { relay, side: held.side }
    } catch (error) {
      this.#finish(held, 'ERR_INTERNAL', {})
      throw error
    }
  }

  #finish(held: Held, reason: CloseReason | 'client', stats: object): void {
    if (held.state === 'closed') return
    const { assignment } = held
    const { attachment_id, session_id } = assignment
    this.#options.logger.info(
      { event: 'attachment_ended', attachment_id, session_id, reason, ...stats },
      'attachment ended',
    )
    const told = reason === 'client' ? 'client_closed' : reason
    const ending = reason === 'client' ? 'ERR_SESSION_DETACHED' : reason
    this.#forget(held, ending, () => this.#reports.closed(assignment, told, stats))
  }

  /** Lets go of all that the attachment held at once; then the lease is given up and the end is reported. */
  #forget(held: Held, reason: CloseReason, report: () => Promise<void>): void {
    held.state = 'closed'
    this.#held.delete(held.assignment.attachment_id)
    held.ended.abort()
    clear(held)
    held.side.close()
    held.witness.close()
    held.limits?.stop()
    for (const tell of held.onEnded) tell(reason)
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

/** The policy of a relay with these channels, under the policy in force. */
function relayPolicyOf({ policy, assignment }: Held, channels: ReadonlySet<Channel>): RelayPolicy {
  return {
    channels: new Set([...channels].filter(channel => policy.channels.includes(channel))),
    renderQualityProfile: assignment.target.render_quality_profile,
    clipboardBytes: policy.limits.clipboard_bytes,
  }
}

/** What a transport brings to a relay. */
export interface BoundOptions {
  readonly client: ClientPort
  readonly channels: readonly Channel[]
  readonly clientRequestedProtocols: number
}

/** What a bound client has. */
export interface BoundAttachment {
  readonly relay: Relay
  readonly side: SideChannels
}

/** An attachment that a connection with side channels alone is being authorised for. */
export interface SideClaim {
  readonly assignment: AssignmentClaims
  /** `onEnded` is called when the attachment is over; undefined where it is over already. */
  bound(
    policy: RuntimePolicy,
    onEnded: (reason: CloseReason) => void,
  ): { readonly channels: SideChannels; left(): void } | undefined
}

/** A warm attachment that one client is being authorised for. */
export interface BindClaim {
  readonly assignment: AssignmentClaims
  /** Makes the relay, which the caller starts; undefined where the attachment ended meanwhile. */
  bound(options: BoundOptions, policy: RuntimePolicy): BoundAttachment | undefined
  /** The bind was refused: the attachment waits on. */
  release(): void
  /** The bind was granted, and the client is gone: the attachment ends. */
  abandon(): void
}
