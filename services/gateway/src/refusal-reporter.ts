import {
  type AuditDetails,
  type InternalClient,
  type Logger,
  type Metrics,
  RefusalAudit,
  reportKnown,
  type Standing,
} from '@rap/service-kit'

/** A refused bind, for the audit. INVARIANT: names and ids only, never a token. */
export interface RefusedBind {
  readonly code: string
  readonly finding: string
  /** Known where the token's signature verifies. */
  readonly attachmentId?: string | undefined
  readonly clientAddress: string
  readonly requestId: string
}

export interface RefusalReporterOptions {
  readonly client: Pick<InternalClient, 'request'>
  readonly logger: Logger
  readonly metrics: Metrics
  /** Of each report that was made. */
  readonly onOutcome: (outcome: 'sent' | 'failed') => void
  /** Default: that of `RefusalAudit`. */
  readonly windowMs?: number | undefined
}

interface Report {
  readonly event: 'data_plane_bind_refused'
  readonly code?: string
  readonly attachment_id?: string
  readonly request_id?: string
  readonly details: AuditDetails
}

/**
 * Tells the control plane of refused binds (`data_plane_bind_refused`), since nobody else sees what the gateway turns away:
 * the first of a kind by themselves, the rest counted, so that a flood of strangers is neither one of rows nor a queue in
 * memory. What the control plane does not take now is counted too, and reported again.
 */
export class RefusalReporter {
  readonly #audit: RefusalAudit<Report>

  constructor({ client, logger, metrics, onOutcome, windowMs }: RefusalReporterOptions) {
    const send = async ({ request_id: requestId, ...body }: Report) => {
      const path = '/internal/v1/audit-events'
      try {
        await client.request({ method: 'POST', path, requestId, body: { ...body, outcome: 'refused' } })
        onOutcome('sent')
      } catch (error) {
        onOutcome('failed')
        throw error
      }
    }
    this.#audit = new RefusalAudit<Report>({
      append: report => reportKnown(report, send),
      logger,
      metrics,
      ...(windowMs !== undefined && { windowMs }),
    })
  }

  /** Never waits and never throws. */
  report(refused: RefusedBind): void {
    const { code, finding, attachmentId, clientAddress, requestId } = refused
    const report: Report = {
      event: 'data_plane_bind_refused',
      code,
      ...(attachmentId !== undefined && { attachment_id: attachmentId }),
      request_id: requestId,
      details: { finding, client_address: clientAddress.slice(0, 64) },
    }
    void this.#audit.report(report, standingOf(refused))
  }

  /** Reports what is counted; to be called when the last connection is gone. */
  close(): Promise<void> {
    return this.#audit.close()
  }
}

/** Times are looked at after the signature, so a token with an attachment is one of ours. */
function standingOf({ attachmentId, finding }: RefusedBind): Standing {
  if (attachmentId === undefined) return 'stranger'
  return finding === 'ERR_TOKEN_EXPIRED' || finding === 'ERR_TOKEN_NOT_YET_VALID' ? 'claimant' : 'holder'
}
