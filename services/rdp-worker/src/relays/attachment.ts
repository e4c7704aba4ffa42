import type { CloseReason, SideMessage } from '@rap/data-plane-protocol'
import type { RelayPolicy } from '@rap/rdp'
import type { Logger } from '@rap/service-kit'
import { type Channel, isRdpChannel } from '@rap/session-policy'
import type { AssignmentClaims } from '@rap/token-claims'
import { isSamePolicy, narrowed, type RuntimePolicy } from '../sessions/runtime-policy.ts'
import type { LiveSession } from '../sessions/sessions.ts'
import { SideChannels } from '../side/side-channels.ts'
import { TargetFailure } from '../target/failure.ts'
import type { WorkerMetrics } from '../worker-metrics.ts'
import type { BindClaim, BoundAttachment, BoundOptions, SideClaim } from './bind-claims.ts'
import type { Landing } from './landing.ts'
import { LimitWatch, type NearLimit } from './limit-watch.ts'
import { OpenedTarget, type TargetParts } from './opened-target.ts'
import { Relay } from './relay.ts'
import type { Reports } from './reports.ts'
import { Witness } from './witness.ts'

/** How long a target that is logged on waits for its client, in milliseconds. */
const WARM_MS = 60_000

/** `binding` while a bind is being authorised; nobody else may bind meanwhile. */
export type AttachmentState = 'opening' | 'warm' | 'binding' | 'bound' | 'closed'

/** Times that tests shorten, in milliseconds. */
export interface AttachmentTimes {
  readonly warmMs?: number
  readonly handshakeTimeoutMs?: number
  /** Length of a second of a policy's limits. */
  readonly secondMs?: number
  /** Longest pause between two tries to report. */
  readonly reportPauseMs?: number
}

/** What every attachment of a worker works with. */
export interface AttachmentParts extends TargetParts {
  readonly leases: { hold(lease: AssignmentClaims): void; release(leaseId: string): Promise<void> }
  readonly landing: Landing
  readonly metrics: WorkerMetrics
  readonly reports: Reports
  readonly logger: Logger
  readonly times?: AttachmentTimes | undefined
}

export interface AttachmentOptions {
  readonly parts: AttachmentParts
  readonly session: LiveSession
  /** It is over, and is to be found no more. */
  readonly onGone: () => void
  /** `told` is done once the lease is given up and the end is reported. */
  readonly onTelling: (told: Promise<void>) => void
}

/** One attachment on this worker, from its assignment to its end. */
export class Attachment {
  readonly assignment: AssignmentClaims
  readonly #options: AttachmentOptions
  readonly #parts: AttachmentParts
  readonly #startedAt = performance.now()
  readonly #target: OpenedTarget
  readonly #side: SideChannels
  readonly #witness: Witness
  /** Tells connections that have nothing but side channels. */
  readonly #onEnded = new Set<(reason: CloseReason) => void>()
  #state: AttachmentState = 'opening'
  /** In force for connections from now on; a relay may have fewer channels. */
  #policy: RuntimePolicy
  #relay: Relay | undefined
  #limits: LimitWatch | undefined
  /** Grows with what the person does beside the relay. */
  #uploads = 0
  #warmTimer: NodeJS.Timeout | undefined
  /** Stops listening to what is uploaded. */
  #unlisten: () => void = () => undefined
  /** The report of `ready`; later ones wait for it, so that they arrive in order. */
  #reported: Promise<unknown> = Promise.resolve()

  constructor(assignment: AssignmentClaims, options: AttachmentOptions) {
    const { parts, session } = options
    const { reports, logger } = parts
    this.assignment = assignment
    this.#options = options
    this.#parts = parts
    this.#target = new OpenedTarget(parts)
    this.#policy = { channels: assignment.allowed_channels, limits: assignment.limits, endsAt: undefined }
    this.#side = new SideChannels({
      uploads: session.uploads,
      policy: this.#policy,
      onActivity: () => {
        this.#uploads++
      },
      nearLimits: () => this.#limits?.near().map(messageOf) ?? [],
      onUpload: outcome => this.#witness.upload(outcome),
      onError: error => logger.error({ event: 'upload_failed', err: error }, 'upload failed'),
    })
    this.#witness = new Witness({ assignment, session, side: this.#side, reports, logger })
  }

  get state(): AttachmentState {
    return this.#state
  }

  /** That of a bound client. */
  get relay(): Relay | undefined {
    return this.#relay
  }

  /** Resolves, dials, logs on, and reports `ready` or why not. Never rejects. */
  async open(): Promise<void> {
    this.#parts.leases.hold(this.assignment)
    try {
      await this.#target.open(this.assignment)
      this.#target.watch({
        spoke: failure => this.#fail(failure),
        closed: () => this.#finish('ERR_RELAY_TARGET_CLOSED', {}),
      })
    } catch (error) {
      // Nothing to do where it was ended meanwhile, which is reported.
      this.#fail(error)
      return
    }
    await this.#reportReady()
  }

  /** Gives the attachment to the client that asks for it, or says that another one has it, or that it is `busy`. */
  claim(): BindClaim | 'bound' | 'busy' {
    if (this.#state !== 'warm') return this.#state === 'bound' ? 'bound' : 'busy'
    this.#state = 'binding'
    clearTimeout(this.#warmTimer)
    return {
      assignment: this.assignment,
      bound: (options, policy) => this.#bound(options, policy),
      release: () => {
        if (this.#state === 'binding') this.#wait()
      },
      abandon: () => this.#finish('client', {}),
    }
  }

  /** Lets a connection beside the desktop's own in: for channels that are not inside RDP. */
  claimSide(): SideClaim | 'busy' {
    if (this.#state === 'opening') return 'busy'
    return {
      assignment: this.assignment,
      bound: (policy, onEnded) => {
        if (this.#state === 'closed') return undefined
        this.setPolicy(policy)
        this.#onEnded.add(onEnded)
        return { channels: this.#side, left: () => this.#onEnded.delete(onEnded) }
      },
    }
  }

  /** What the source of truth says that it may do from now on. INVARIANT: it gets no channel that it did not have. */
  setPolicy(said: RuntimePolicy): void {
    const policy = narrowed(this.#policy, said)
    const isSame = isSamePolicy(policy, this.#policy)
    this.#policy = policy
    if (!isSame) this.#tellPolicy(policy)
    // How much time is left is heard anew with every answer.
    this.#limits?.setPolicy(policy)
    // A connection that may carry nothing any more is not kept open for its own sake.
    if (!policy.channels.some(isRdpChannel)) this.#relay?.end('ERR_SESSION_POLICY')
  }

  #tellPolicy(policy: RuntimePolicy): void {
    const { attachment_id } = this.assignment
    this.#parts.logger.info({ event: 'policy_in_force', attachment_id, channels: policy.channels }, 'policy in force')
    const relay = this.#relay
    // What is taken away is taken away before anybody hears of it.
    relay?.setPolicy(this.#relayPolicy(relay.channels))
    this.#side.setPolicy(policy)
  }

  /** The source of truth says that a client is bound. Where none is, its answer to the bind was lost. */
  boundElsewhere(): void {
    if (this.#state === 'warm') this.#finish('ERR_BIND_UNAVAILABLE', {})
  }

  /** Closes both ends, gives the lease up, and reports it. Safe to call twice. */
  end(reason: CloseReason): void {
    if (this.#relay !== undefined) this.#relay.end(reason)
    else this.#finish(reason, {})
  }

  /** The client may come before the answer to the report does, so the attachment waits for it from here on. */
  async #reportReady(): Promise<void> {
    if (this.#state === 'closed') return
    const { metrics, logger, reports } = this.#parts
    const { attachment_id, session_id } = this.assignment
    this.#wait()
    const report = reports.ready(this.assignment)
    this.#reported = report
    const answer = await report
    if (answer === 'taken') metrics.targetOpened('ready', performance.now() - this.#startedAt)
    logger.info({ event: 'target_ready', attachment_id, session_id, outcome: answer }, 'target ready')
    // A client that is let in meanwhile shows that the control plane has heard of it.
    if (answer === 'taken' || this.#state !== 'warm') return
    this.#finish(answer === 'refused' ? 'ERR_SESSION_TERMINATED' : 'ERR_BIND_UNAVAILABLE', {})
  }

  #wait(): void {
    const { warmMs = WARM_MS } = this.#parts.times ?? {}
    this.#state = 'warm'
    this.#warmTimer = setTimeout(() => this.#finish('ERR_SESSION_DETACHED', {}), warmMs)
    this.#warmTimer.unref()
  }

  #bound({ client, channels, clientRequestedProtocols }: BoundOptions, policy: RuntimePolicy) {
    const taken = this.#state === 'binding' ? this.#target.take() : undefined
    if (taken === undefined) return undefined
    this.#state = 'bound'
    this.setPolicy(policy)
    const { uploads } = this.#options.session
    // The drive belongs to the desktop, whichever connection brings the files.
    const drive = this.#policy.channels.includes('file_upload') ? uploads : undefined
    const driveChannel: readonly Channel[] = drive === undefined ? [] : ['file_upload']
    const { landing, metrics, times } = this.#parts
    try {
      const relay: Relay = new Relay({
        ...taken,
        client,
        landing,
        policy: this.#relayPolicy(new Set([...channels.filter(isRdpChannel), ...driveChannel])),
        drive,
        clientRequestedProtocols,
        handshakeTimeoutMs: times?.handshakeTimeoutMs,
        onEvent: event => this.#witness.relayEvent(event),
        onEnd: (reason, error) => {
          if (error !== undefined) this.#witness.relayError(reason, error)
          metrics.relayEnded(reason, relay.stats)
          this.#finish(reason, relay.stats)
        },
      })
      this.#relay = relay
      this.#unlisten = uploads.onChange(() => relay.driveChanged())
      this.#limits = new LimitWatch({
        policy: this.#policy,
        activity: () => relay.activity + this.#uploads,
        onNear: near => this.#side.notify(messageOf(near)),
        onReached: reason => relay.end(reason),
        secondMs: times?.secondMs ?? 1000,
      })
      return { relay, side: this.#side } satisfies BoundAttachment
    } catch (error) {
      this.#finish('ERR_INTERNAL', {})
      throw error
    }
  }

  /** The policy of a relay with these channels, under the policy in force. */
  #relayPolicy(channels: ReadonlySet<Channel>): RelayPolicy {
    return {
      channels: new Set([...channels].filter(channel => this.#policy.channels.includes(channel))),
      renderQualityProfile: this.assignment.target.render_quality_profile,
      clipboardBytes: this.#policy.limits.clipboard_bytes,
    }
  }

  #fail(error: unknown): void {
    if (this.#state === 'closed') return
    const { logger, metrics, reports } = this.#parts
    const { assignment } = this
    const { attachment_id, session_id } = assignment
    const failure =
      error instanceof TargetFailure ? error : new TargetFailure('ERR_WORKER_INTERNAL', {}, { cause: error })
    const { code, facts } = failure
    metrics.targetOpened(code, 0)
    logger.warn({ event: 'target_failed', attachment_id, session_id, code, facts, err: error }, 'target failed')
    this.#letGo('ERR_RELAY_TARGET_LOST', async () => {
      if (/^ERR_TARGET_(CERTIFICATE|IDENTITY)_/.test(code)) {
        await reports.audit(assignment, 'target_certificate_refused', code, facts)
      }
      await reports.failed(assignment, failure.failure)
    })
  }

  #finish(reason: CloseReason | 'client', stats: object): void {
    if (this.#state === 'closed') return
    const { logger, reports } = this.#parts
    const { attachment_id, session_id } = this.assignment
    logger.info({ event: 'attachment_ended', attachment_id, session_id, reason, ...stats }, 'attachment ended')
    const told = reason === 'client' ? 'client_closed' : reason
    const ending = reason === 'client' ? 'ERR_SESSION_DETACHED' : reason
    this.#letGo(ending, () => reports.closed(this.assignment, told, stats))
  }

  /** Lets go of all that it held at once; then the lease is given up and the end is reported. */
  #letGo(reason: CloseReason, report: () => Promise<void>): void {
    const { parts, onGone, onTelling } = this.#options
    this.#state = 'closed'
    onGone()
    clearTimeout(this.#warmTimer)
    this.#target.destroy()
    this.#unlisten()
    this.#side.close()
    this.#witness.close()
    this.#limits?.stop()
    for (const tell of this.#onEnded) tell(reason)
    const released = parts.leases.release(this.assignment.lease_id)
    onTelling(Promise.all([released, this.#reported.then(report)]).then(() => undefined))
  }
}

function messageOf({ limit, secondsLeft }: NearLimit): SideMessage {
  return { type: 'limit_near', limit, seconds_left: secondsLeft }
}
