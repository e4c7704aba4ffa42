import { type Logger, ProblemError } from '@rap/service-kit'
import type { AssignmentClaims } from '@rap/token-claims'
import type { WorkerAudit } from '../control-plane/audit.ts'
import type { AuditReport, ControlPlane } from '../control-plane/client.ts'
import type { SessionFailure } from '../target/failure.ts'

/** Pause between two tries to report, in milliseconds; the control plane may be restarting. */
const RETRY_MS = [200, 1000, 3000] as const

type Ids = Pick<AssignmentClaims, 'attachment_id' | 'session_id'>

/** Facts of an audit event; never a secret or a byte of what was relayed. */
export type AuditFacts = Readonly<Record<string, string | number | boolean>>

export interface ReportsOptions {
  readonly controlPlane: ControlPlane
  readonly audit: Pick<WorkerAudit, 'report'>
  readonly logger: Logger
}

/** What the worker tells the source of truth about its attachments. Nothing here rejects: a report that is lost is logged. */
export class Reports {
  readonly #controlPlane: ControlPlane
  readonly #audit: Pick<WorkerAudit, 'report'>
  readonly #logger: Logger

  constructor({ controlPlane, audit, logger }: ReportsOptions) {
    this.#controlPlane = controlPlane
    this.#audit = audit
    this.#logger = logger
  }

  /** `refused` where the attachment was ended from that side, `lost` where nobody answered. */
  async ready({ attachment_id }: Ids): Promise<'taken' | 'refused' | 'lost'> {
    return await this.#report(attachment_id, () => this.#controlPlane.reportReady(attachment_id))
  }

  async failed({ attachment_id }: Ids, failure: SessionFailure): Promise<void> {
    await this.#report(attachment_id, () => this.#controlPlane.reportFailed(attachment_id, failure))
  }

  async closed({ attachment_id }: Ids, reason: string, stats: object): Promise<void> {
    await this.#report(attachment_id, () => this.#controlPlane.reportClosed(attachment_id, reason, { ...stats }))
  }

  async audit({ attachment_id, session_id }: Ids, event: AuditReport['event'], code: string, details: AuditFacts) {
    await this.#audit.report({ event, session_id, attachment_id, code, details }, 'holder')
  }

  async uploadFinished({ attachment_id, session_id }: Ids, details: AuditFacts): Promise<void> {
    await this.#audit.report({ event: 'upload_finished', outcome: 'ok', session_id, attachment_id, details }, 'holder')
  }

  /** A report that is lost costs nothing but time: the lease is given up, and the control plane sees that. */
  async #report(attachmentId: string, send: () => Promise<void>): Promise<'taken' | 'refused' | 'lost'> {
    for (const pause of [...RETRY_MS, undefined]) {
      try {
        await send()
        return 'taken'
      } catch (error) {
        // Refused, so it is known there: the attachment was ended from that side.
        if (error instanceof ProblemError && error.status < 500) return 'refused'
        if (pause === undefined) {
          this.#logger.warn({ event: 'report_lost', attachment_id: attachmentId, err: error }, 'report lost')
          break
        }
        await new Promise(resolve => setTimeout(resolve, pause))
      }
    }
    return 'lost'
  }
}
