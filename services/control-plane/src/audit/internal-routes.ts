import { appendAuditEvent, commonProblems, type PeerIdentity, ProblemError, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { type Identify, peerOf, requirePeer } from '../http/peer.ts'
import { Uuid } from '../http/schemas.ts'
import { requireActiveWorker } from '../workers/announce.ts'

interface Report {
  readonly event: string
  readonly attachment_id?: string
  readonly session_id?: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** Events that each kind of peer may report. Everything else is written where it happens. */
export const REPORTABLE = {
  worker: [
    'channel_refused',
    'channel_data_withheld',
    'upload_finished',
    'upload_refused',
    'target_certificate_refused',
    'server_redirection_refused',
    'data_plane_bind_refused',
    'assignment_refused',
    'relay_protocol_violation',
  ],
  gateway: ['data_plane_bind_refused'],
} as const

/**
 * Reports of one peer in a minute, about attachments and about strangers each: a peer that goes wild must not fill the
 * audit, and strangers not what there is room for of it. One report counts once, whatever its `suppressed_count`; one that
 * is refused stays counted at its peer (`RefusalAudit`), which reports it again.
 */
const REPORTS_PER_MINUTE = 300
const MAX_WINDOWS = 10_000

const Scalar = Type.Union([
  Type.String({ maxLength: 512 }),
  Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
  Type.Boolean(),
  Type.Null(),
])
const CREDENTIAL_NAME =
  /passw|passphrase|credential|private_?key|cookie|authorization|^(.*_)?(token|secret|username|domain)$/

/** Refusals of a report that say something about its peer. */
const TELLING = new Set(['ERR_AUDIT_EVENT_NOT_ALLOWED', 'ERR_RATE_LIMITED', 'ERR_VALIDATION', 'ERR_NOT_FOUND'])

/**
 * `POST /internal/v1/audit-events`: what workers and the gateway saw and the control plane could not. A report that is
 * refused is in the audit as such.
 */
export function internalAuditRoutes(app: RapServer, ctx: Context, identify: Identify): void {
  const windows = new Map<string, { startedAt: number; count: number }>()

  app.post(
    '/internal/v1/audit-events',
    {
      onRequest: requirePeer(identify, { kind: 'worker' }, { kind: 'service', id: 'gateway' }),
      schema: {
        body: Type.Object({
          event: Type.String({ maxLength: 100 }),
          outcome: Type.Optional(Type.Union([Type.Literal('ok'), Type.Literal('refused'), Type.Literal('failed')])),
          code: Type.Optional(Type.String({ maxLength: 100, pattern: '^[A-Z][A-Z0-9_]*$' })),
          attachment_id: Type.Optional(Uuid),
          session_id: Type.Optional(Uuid),
          client_address: Type.Optional(Type.String({ maxLength: 64 })),
          details: Type.Optional(
            Type.Record(Type.String({ pattern: '^[a-z][a-z0-9_]{0,47}$' }), Scalar, {
              additionalProperties: false,
              maxProperties: 16,
            }),
          ),
        }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const peer = peerOf(request)
      const { body } = request
      const place = await admit(peer, body).catch(async error => {
        await auditRefusedReport(peer, error, request.id)
        throw error
      })
      await appendAuditEvent(ctx.sql, {
        ...place,
        event: body.event,
        actor: { kind: peer.kind, id: peer.id },
        outcome: body.outcome ?? 'refused',
        code: body.code,
        request_id: request.id,
        details: {
          ...body.details,
          ...(body.client_address !== undefined && { client_address: body.client_address }),
        },
      })
      return reply.code(204).send(null)
    },
  )

  async function admit(peer: PeerIdentity, body: Report) {
    requireReportable(peer, body.event)
    const about = body.attachment_id === undefined ? 'strangers' : 'attachments'
    if (!takeTurn(`${peer.kind}/${peer.id} ${about}`)) throw commonProblems.ERR_RATE_LIMITED()
    if (peer.kind === 'worker') await requireActiveWorker(ctx, peer)
    if (Object.keys(body.details ?? {}).some(key => CREDENTIAL_NAME.test(key))) {
      throw commonProblems.ERR_VALIDATION({ detail: 'a detail is named like a credential' })
    }
    return await placeOf(peer, body)
  }

  async function auditRefusedReport(peer: PeerIdentity, error: unknown, requestId: string): Promise<void> {
    if (!(error instanceof ProblemError) || !TELLING.has(error.code)) return
    await ctx.refusals.report(
      {
        organization_id: null,
        event: 'audit_report_refused',
        actor: { kind: peer.kind, id: peer.id },
        ...(peer.kind === 'worker' && { worker_id: peer.id }),
        outcome: 'refused',
        code: error.code,
        request_id: requestId,
      },
      'holder',
    )
  }

  /** The ids of an event are taken from the attachment's own row; a worker can name its own attachments only. */
  async function placeOf(peer: PeerIdentity, body: Report) {
    const worker = peer.kind === 'worker' ? { worker_id: peer.id } : {}
    if (body.attachment_id === undefined) {
      // Something that belongs to no attachment, such as a stranger's bind, is the platform's own business.
      if (body.session_id !== undefined) throw commonProblems.ERR_VALIDATION({ detail: 'attachment_id is missing' })
      return { organization_id: null, ...worker }
    }
    const [row] = await ctx.sql<
      { organization_id: string; session_id: string; resource_id: string; user_id: string; worker_id: string }[]
    >`
      select a.organization_id, a.session_id, s.resource_id, s.user_id, a.worker_id
      from rap.session_attachments a join rap.remote_sessions s on s.id = a.session_id
      where a.id = ${body.attachment_id}`
    const isForeign = peer.kind === 'worker' && row?.worker_id !== peer.id
    if (row === undefined || isForeign || (body.session_id !== undefined && body.session_id !== row.session_id)) {
      throw commonProblems.ERR_NOT_FOUND()
    }
    return { ...row, attachment_id: body.attachment_id }
  }

  /** A fixed window of a minute for each peer; the map holds platform certificates only, and is bounded all the same. */
  function takeTurn(key: string): boolean {
    const now = performance.now()
    let window = windows.get(key)
    if (window === undefined || now - window.startedAt >= 60_000) {
      if (windows.size >= MAX_WINDOWS) windows.clear()
      window = { startedAt: now, count: 0 }
      windows.set(key, window)
    }
    window.count += 1
    return window.count <= REPORTS_PER_MINUTE
  }
}

function requireReportable(peer: PeerIdentity, event: string): void {
  const allowed: readonly string[] = peer.kind === 'worker' ? REPORTABLE.worker : REPORTABLE.gateway
  if (!allowed.includes(event)) throw problems.ERR_AUDIT_EVENT_NOT_ALLOWED()
}
