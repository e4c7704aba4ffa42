import { type Logger, type Metrics, RefusalAudit, reportKnown } from '@rap/service-kit'
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
    append: report => reportKnown(report, known => controlPlane.audit(known)),
  })
}
