import {
  onRefusedHandshake,
  type PeerIdentity,
  type ProblemError,
  peerIdentity,
  type RapServer,
} from '@rap/service-kit'
import type { FastifyRequest } from 'fastify'
import { CONTROL_PLANE } from './control-plane.ts'
import type { Refusals } from './refusals.ts'
import type { Admission } from './resolve/rate-limit.ts'

/** The id of every worker; what a certificate says may be anything else. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * What holds on every route for whoever is not the control plane: each request is counted before its body is read, and an
 * attempt on a route for the control plane is in the audit of the platform. INVARIANT: nothing that the caller wrote gets
 * into that event, so nobody writes into the audit of an organization by naming it.
 */
export function addStrangerRules(
  app: RapServer,
  { refusals, admission }: { readonly refusals: Refusals; readonly admission: Pick<Admission, 'countCaller'> },
): void {
  // Before the body is read: a flood costs a counter, not a signature check.
  app.addHook('onRequest', async request => {
    const caller = peerIdentity(request)
    if (!isControlPlane(caller)) await admission.countCaller(caller)
  })
  onRefusedHandshake(app, ({ reason, clientAddress }) => {
    const event = {
      organization_id: null,
      event: 'resource_secret_access_denied',
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
    await refusals.report(attemptOf(request), peerIdentity(request) === undefined ? 'stranger' : 'holder')
  })
}

function isControlPlane(caller: PeerIdentity | undefined): boolean {
  return caller?.kind === CONTROL_PLANE.kind && caller.id === CONTROL_PLANE.id
}

function attemptOf(request: FastifyRequest) {
  const caller = peerIdentity(request)
  return {
    organization_id: null,
    event: 'resource_secret_access_denied',
    actor: { kind: caller?.kind ?? 'system', id: caller?.id ?? 'unidentified' },
    worker_id: caller?.kind === 'worker' && UUID.test(caller.id) ? caller.id : undefined,
    outcome: 'refused',
    code: 'ERR_MTLS_IDENTITY',
    request_id: request.id,
    // The pattern of the route, not the URL.
    details: { reason: 'route_of_control_plane', method: request.method, route: request.routeOptions.url ?? null },
  } as const
}
