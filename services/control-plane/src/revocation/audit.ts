import {
  type AuditEvent,
  AuditThrottle,
  appendAuditEvent,
  type Logger,
  type ProblemError,
  type Sql,
} from '@rap/service-kit'
import type { FastifyRequest } from 'fastify'

interface Refused {
  readonly audit: Partial<AuditEvent>
  readonly requestId: string
}

/** Brings refused peers into the audit of the platform: the first of each in a window, and the count of the others. */
export class RefusedPeers {
  readonly #throttle: AuditThrottle<Refused>

  constructor(sql: Sql, logger: Logger) {
    this.#throttle = new AuditThrottle({
      keyOf: ({ audit }) => `${audit.actor?.kind}/${audit.actor?.id}`,
      perWindow: 1,
      send: async ({ audit, requestId }, suppressedCount, isMixed) => {
        try {
          await appendAuditEvent(sql, eventOf(audit, { requestId, suppressedCount, isMixed }))
        } catch (err) {
          logger.error({ event: 'audit_write_failed', err }, 'refused peer is not in the audit')
          throw err
        }
      },
    })
  }

  /** For `onRefusal` of a server. */
  readonly report = async ({ audit }: ProblemError, request: FastifyRequest): Promise<void> => {
    if (audit !== undefined) await this.#throttle.report({ audit, requestId: request.id })
  }

  close(): Promise<void> {
    return this.#throttle.close()
  }
}

interface Row {
  readonly requestId: string
  readonly suppressedCount: number
  readonly isMixed: boolean
}

/** A row for several peers names none of them. */
function eventOf(audit: Partial<AuditEvent>, { requestId, suppressedCount, isMixed }: Row): AuditEvent {
  const event = { organization_id: null, event: 'revoked_peer_refused', outcome: 'refused', ...audit } as const
  const details = { ...audit.details, ...(suppressedCount > 0 && { suppressed_count: suppressedCount }) }
  return isMixed
    ? {
        organization_id: null,
        event: event.event,
        outcome: event.outcome,
        code: audit.code,
        actor: { kind: 'system', id: 'several' },
        details: { suppressed_count: suppressedCount },
      }
    : { actor: { kind: 'system', id: 'unidentified' }, ...event, request_id: requestId, details }
}
