import { type Logger, type Metrics, ProblemError, RefusalAudit } from '@rap/service-kit'
import type { AuditReport, ControlPlane } from './client.ts'

/** Where the worker's audit events go; what the control plane does not take now is counted and reported again. */
export type WorkerAudit = RefusalAudit<AuditReport>

export interface WorkerAuditOptions {
  readonly controlPlane: Pick<ControlPlane, 'audit'>
  readonly logger: Logger
  readonly metrics: Metrics
  readonly windowMs?: number | undefined
}

export function openAudit({ controlPlane, logger, metrics, windowMs }: WorkerAuditOptions): WorkerAudit {
  return new RefusalAudit<AuditReport>({
    logger,
    metrics,
    ...(windowMs !== undefined && { windowMs }),
    append: async report => {
      try {
        await controlPlane.audit(report)
      } catch (error) {
        if (!(error instanceof ProblemError) || error.code !== 'ERR_NOT_FOUND') throw error
        // Signed by the control plane and yet not in its database, so it will never be taken with these names.
        const { attachment_id: _, session_id: __, ...rest } = report
        await controlPlane.audit({ ...rest, details: { ...rest.details, attachment_unknown: true } })
      }
    },
  })
}
