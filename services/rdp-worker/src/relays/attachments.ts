import type { CloseReason } from '@rap/data-plane-protocol'
import type { AssignmentClaims } from '@rap/token-claims'
import type { WorkerAudit } from '../control-plane/audit.ts'
import type { ControlPlane } from '../control-plane/client.ts'
import type { RuntimePolicy } from '../sessions/runtime-policy.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { TargetFailure } from '../target/failure.ts'
import { Attachment, type AttachmentParts, type AttachmentState } from './attachment.ts'
import type { BindClaim, SideClaim } from './bind-claims.ts'
import type { Relay } from './relay.ts'
import { Reports } from './reports.ts'

/** One attachment on this worker. */
export interface LiveAttachment {
  readonly assignment: AssignmentClaims
  readonly state: AttachmentState
}

export interface AttachmentsOptions extends Omit<AttachmentParts, 'reports'> {
  readonly controlPlane: ControlPlane
  readonly audit: Pick<WorkerAudit, 'report'>
  readonly maxSessions: number
  readonly sessions: Sessions
}

/** Every attachment of this worker, by its id. INVARIANT: at most `maxSessions` are live. */
export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #parts: AttachmentParts
  readonly #held = new Map<string, Attachment>()
  /** Reports and releases under way; none of them rejects. */
  readonly #ending = new Set<Promise<void>>()
  #draining = false

  constructor(options: AttachmentsOptions) {
    this.#options = options
    this.#parts = { ...options, reports: new Reports(options) }
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
    const { maxSessions, sessions } = this.#options
    const { attachment_id: id } = assignment
    if (this.#held.has(id)) return
    if (this.#draining) return await this.#turnAway(assignment, new TargetFailure('ERR_WORKER_DRAINING'))
    if (this.#held.size >= maxSessions) return await this.#turnAway(assignment, new TargetFailure('ERR_WORKER_FULL'))
    const attachment = new Attachment(assignment, {
      parts: this.#parts,
      session: sessions.of(assignment.session_id),
      onGone: () => this.#held.delete(id),
      onTelling: told => this.#track(told),
    })
    this.#held.set(id, attachment)
    await attachment.open()
  }

  /**
   * Gives the attachment to the client that asks for it. The answer is a claim, or why there is none: `absent` here, `bound` already, or `busy` with
   * its target or with another client.
   */
  claim(attachmentId: string): BindClaim | 'absent' | 'bound' | 'busy' {
    return this.#held.get(attachmentId)?.claim() ?? 'absent'
  }

  /** Lets a connection beside the desktop's own in: for channels that are not inside RDP. `absent` here, or `busy` with its target. */
  claimSide(attachmentId: string): SideClaim | 'absent' | 'busy' {
    return this.#held.get(attachmentId)?.claimSide() ?? 'absent'
  }

  /** What the source of truth says that an attachment may do from now on. */
  setPolicy(attachmentId: string, policy: RuntimePolicy): void {
    this.#held.get(attachmentId)?.setPolicy(policy)
  }

  /**
   * The source of truth says that a client is bound. Where none is, its answer to the bind was lost, and no other bind of this attachment will be
   * granted: it ends, so that the user can attach again.
   */
  boundElsewhere(attachmentId: string): void {
    this.#held.get(attachmentId)?.boundElsewhere()
  }

  /** A bind was granted for an attachment that this worker does not hold: it tells so. */
  async absent(place: { readonly attachment_id: string; readonly session_id: string }): Promise<void> {
    if (!this.#held.has(place.attachment_id)) await this.#parts.reports.closed(place, 'ERR_BIND_UNAVAILABLE', {})
  }

  /** Ends an attachment: closes both ends, gives the lease up, and reports it. Safe to call twice. */
  end(attachmentId: string, reason: CloseReason): void {
    this.#held.get(attachmentId)?.end(reason)
  }

  /** From now on every assignment is turned away; what is there goes on. */
  drain(): void {
    this.#draining = true
  }

  /** Ends every attachment, as a worker that stops does, and waits until all is reported. */
  async endAll(reason: CloseReason): Promise<void> {
    this.#parts.reports.hurry()
    for (const id of this.ids()) this.end(id, reason)
    while (this.#ending.size > 0) await Promise.all(this.#ending)
  }

  async #turnAway(assignment: AssignmentClaims, { code, failure }: TargetFailure): Promise<void> {
    this.#parts.metrics.targetOpened(code, 0)
    const report = this.#parts.reports.failed(assignment, failure)
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
