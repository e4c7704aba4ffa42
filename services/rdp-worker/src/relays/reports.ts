import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { type Logger, ProblemError } from '@rap/service-kit'
import type { AssignmentClaims } from '@rap/token-claims'
import type { WorkerAudit } from '../control-plane/audit.ts'
import type { AuditReport, ControlPlane } from '../control-plane/client.ts'
import type { SessionFailure } from '../target/failure.ts'

/** First pause between two tries to report, in milliseconds; each further one is four times as long. */
const FIRST_PAUSE_MS = 200
/** Longest pause, in milliseconds: an end has to be told before the sweep of the control plane takes its lease for lost, which would fail the session. */
const LONGEST_PAUSE_MS = 5000
/** Tries, over some four seconds: whoever waits for `ready` waits no longer, and nor does a worker that stops. */
const FEW_TRIES = 4
/** Tries to tell an end, over some ten minutes: as long as the control plane or its database may be away without ending a session that is to stay. */
const MANY_TRIES = 120

type Ids = Pick<AssignmentClaims, 'attachment_id' | 'session_id'>

/** Facts of an audit event; never a secret or a byte of what was relayed. */
export type AuditFacts = Readonly<Record<string, string | number | boolean>>

export interface ReportsOptions {
  readonly controlPlane: ControlPlane
  readonly audit: Pick<WorkerAudit, 'report'>
  readonly logger: Logger
  readonly times?: { readonly reportPauseMs?: number } | undefined
}

/** What the worker tells the source of truth about its attachments. Nothing here rejects: a report that is lost is logged. */
export class Reports {
  readonly #controlPlane: ControlPlane
  readonly #audit: Pick<WorkerAudit, 'report'>
  readonly #logger: Logger
  readonly #longestPauseMs: number
  readonly #stopping = new AbortController()

  constructor({ controlPlane, audit, logger, times }: ReportsOptions) {
    this.#controlPlane = controlPlane
    this.#audit = audit
    this.#logger = logger
    this.#longestPauseMs = times?.reportPauseMs ?? LONGEST_PAUSE_MS
    setMaxListeners(0, this.#stopping.signal)
  }

  /** The worker stops: what nobody has answered yet is tried a few times, and then left to the control plane. */
  hurry(): void {
    this.#stopping.abort()
  }

  /** `refused` where the attachment was ended from that side, `lost` where nobody answered. */
  async ready({ attachment_id }: Ids): Promise<'taken' | 'refused' | 'lost'> {
    return await this.#report(attachment_id, FEW_TRIES, () => this.#controlPlane.reportReady(attachment_id))
  }

  async failed({ attachment_id }: Ids, failure: SessionFailure): Promise<void> {
    await this.#report(attachment_id, MANY_TRIES, () => this.#controlPlane.reportFailed(attachment_id, failure))
  }

  async closed({ attachment_id }: Ids, reason: string, stats: object): Promise<void> {
    const facts = { ...stats }
    await this.#report(attachment_id, MANY_TRIES, () => this.#controlPlane.reportClosed(attachment_id, reason, facts))
  }

  async audit({ attachment_id, session_id }: Ids, event: AuditReport['event'], code: string, details: AuditFacts) {
    await this.#audit.report({ event, session_id, attachment_id, code, details }, 'holder')
  }

  async uploadFinished({ attachment_id, session_id }: Ids, details: AuditFacts): Promise<void> {
    await this.#audit.report({ event: 'upload_finished', outcome: 'ok', session_id, attachment_id, details }, 'holder')
  }

  /** A report that is lost is made up for by the control plane, which sees that the lease is given up: the session has failed then. */
  async #report(attachmentId: string, tries: number, send: () => Promise<void>): Promise<'taken' | 'refused' | 'lost'> {
    const { signal } = this.#stopping
    for (let tried = 1; ; tried++) {
      try {
        await send()
        return 'taken'
      } catch (error) {
        // Refused, so it is known there: the attachment was ended from that side.
        if (error instanceof ProblemError && error.status < 500) return 'refused'
        if (tried >= (signal.aborted ? FEW_TRIES : tries)) {
          this.#logger.warn({ event: 'report_lost', attachment_id: attachmentId, err: error }, 'report lost')
          return 'lost'
        }
      }
      const pauseMs = Math.min(FIRST_PAUSE_MS * 4 ** (tried - 1), this.#longestPauseMs)
      // A worker that stops waits for no long pause; the few tries that it has keep theirs.
      await delay(pauseMs, undefined, tried < FEW_TRIES ? {} : { signal }).catch(() => undefined)
    }
  }
}
