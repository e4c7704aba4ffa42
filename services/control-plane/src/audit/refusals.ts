import {
  type AuditEvent,
  appendRefusal,
  type Logger,
  type Metrics,
  onRefusedHandshake,
  type ProblemError,
  type RapServer,
  RefusalAudit,
  type Sql,
} from '@rap/service-kit'
import { type Identify, UUID } from '../http/peer.ts'

/** Where refusals go that somebody outside can cause at will; everything else is written with `write.ts`. */
export type Refusals = RefusalAudit<AuditEvent>

export function openRefusals(sql: Sql, logger: Logger, metrics: Metrics | undefined): Refusals {
  return new RefusalAudit({ append: event => appendRefusal(sql, event), logger, metrics })
}

/**
 * Brings callers of internal routes whose certificate is for something else, or none of the platform, into the audit.
 * INVARIANT: nothing that the caller wrote is in the event.
 */
export function auditForeignPeers(
  app: RapServer,
  { refusals }: { readonly refusals: Refusals },
  identify: Identify,
): void {
  onRefusedHandshake(app, ({ reason, clientAddress }) => {
    const event = {
      organization_id: null,
      event: 'internal_access_refused',
      actor: { kind: 'system', id: 'unidentified' },
      outcome: 'refused',
      code: 'ERR_MTLS_IDENTITY',
      details: { reason, client_address: clientAddress ?? null },
    } as const
    void refusals.report(event, 'stranger')
  })
  app.addHook('onError', async (request, _reply, error) => {
    const { code, audit } = error as Partial<ProblemError>
    // A problem that brings its own event is written by `onRefusal`.
    if (code !== 'ERR_MTLS_IDENTITY' || audit !== undefined) return
    const peer = identify(request)
    await refusals.report(
      {
        organization_id: null,
        event: 'internal_access_refused',
        actor: { kind: peer?.kind ?? 'system', id: peer?.id ?? 'unidentified' },
        ...(peer?.kind === 'worker' && UUID.test(peer.id) && { worker_id: peer.id }),
        outcome: 'refused',
        code,
        request_id: request.id,
        details: { method: request.method, route: request.routeOptions.url ?? null },
      },
      peer === undefined ? 'stranger' : 'holder',
    )
  })
}
