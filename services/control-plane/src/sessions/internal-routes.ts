import { RUNTIME_TRANSPORTS } from '@rap/data-plane-protocol'
import { commonProblems, type RapServer } from '@rap/service-kit'
import { Channels, SessionLimits } from '@rap/session-policy'
import { Type } from '@sinclair/typebox'
import type { Context } from '../context.ts'
import type { Identify } from '../http/peer.ts'
import { peerOf, requirePeer } from '../http/peer.ts'
import { IdParams, Nullable, Time, Uuid } from '../http/schemas.ts'
import { TELLS_REVOKED } from '../revocation/tell.ts'
import { requireActiveWorker } from '../workers/announce.ts'
import { authoriseBind } from './bind.ts'
import { Failure } from './failure.ts'
import { answerPoll, MAX_POLLED, PolledAttachment } from './poll.ts'
import { reportState } from './report.ts'
import { findAttachment } from './storage.ts'

const AttachmentState = Type.Object({
  attachment_id: Uuid,
  session_id: Nullable(Uuid),
  state: Type.String(),
  reason: Nullable(Type.String()),
})

/** What workers ask about their attachments; every route knows its worker by certificate. */
export function internalSessionRoutes(app: RapServer, ctx: Context, identify: Identify): void {
  const onRequest = requirePeer(identify, { kind: 'worker' })

  app.post(
    '/internal/v1/binds',
    {
      onRequest,
      schema: {
        body: Type.Object({
          // Longer than any token of ours, so that a wrong one is refused as such and audited.
          token: Type.String({ minLength: 1, maxLength: 8192 }),
          proof_jti: Type.String({ minLength: 1, maxLength: 64 }),
          runtime_transport: Type.Union(RUNTIME_TRANSPORTS.map(name => Type.Literal(name))),
          // Any names: a channel that does not exist is refused as one that is not allowed.
          requested_channels: Type.Array(Type.String({ maxLength: 40 }), { minItems: 1, maxItems: 8 }),
          client_address: Type.String({ maxLength: 64 }),
        }),
        response: {
          200: Type.Object({
            session_id: Uuid,
            attachment_id: Uuid,
            user_id: Uuid,
            organization_id: Uuid,
            resource_id: Uuid,
            allowed_channels: Channels,
            limits: SessionLimits,
            session_ends_at: Nullable(Time),
            session_seconds_left: Nullable(Type.Number()),
            bind_id: Uuid,
          }),
        },
      },
    },
    async request => {
      const { body } = request
      return await authoriseBind(ctx, peerOf(request), {
        token: body.token,
        proofJti: body.proof_jti,
        runtimeTransport: body.runtime_transport,
        requestedChannels: body.requested_channels,
        clientAddress: body.client_address,
        requestId: request.id,
      })
    },
  )

  app.post(
    '/internal/v1/attachments/:id/state',
    {
      onRequest,
      schema: {
        params: IdParams,
        body: Type.Object({
          state: Type.Union([Type.Literal('ready'), Type.Literal('failed'), Type.Literal('closed')]),
          failure: Type.Optional(Failure),
          reason: Type.Optional(Type.String({ maxLength: 100, pattern: '^[A-Za-z0-9_]*$' })),
          stats: Type.Optional(Type.Record(Type.String({ maxLength: 48 }), Type.Number(), { maxProperties: 16 })),
        }),
        response: { 200: AttachmentState },
      },
    },
    async request => {
      const worker = await requireActiveWorker(ctx, peerOf(request))
      const { state, failure, reason, stats } = request.body
      if (state === 'failed' && failure === undefined)
        throw commonProblems.ERR_VALIDATION({ detail: 'failure is missing' })
      return stateView(
        await reportState(ctx, worker.id, { attachmentId: request.params.id, state, failure, reason, stats }),
      )
    },
  )

  app.get(
    '/internal/v1/attachments/:id',
    { onRequest, schema: { params: IdParams, response: { 200: AttachmentState } } },
    async request => {
      const attachment = await findAttachment(ctx.sql, request.params.id)
      if (attachment?.worker_id !== peerOf(request).id) throw commonProblems.ERR_NOT_FOUND()
      return stateView(attachment)
    },
  )

  app.post(
    '/internal/v1/workers/self/attachments',
    {
      onRequest,
      config: TELLS_REVOKED,
      schema: {
        body: Type.Object({
          attachment_ids: Type.Array(Uuid, { maxItems: MAX_POLLED }),
          session_ids: Type.Optional(Type.Array(Uuid, { maxItems: MAX_POLLED })),
        }),
        response: {
          200: Type.Object({
            attachments: Type.Array(PolledAttachment),
            sessions: Type.Array(Type.Object({ session_id: Uuid, live: Type.Boolean() })),
          }),
        },
      },
    },
    async request => {
      const { attachment_ids: attachmentIds, session_ids: sessionIds = [] } = request.body
      return await answerPoll(ctx.sql, peerOf(request).id, { attachmentIds, sessionIds })
    },
  )
}

function stateView(row: { id: string; session_id: string; state: string; close_reason: string | null }) {
  return { attachment_id: row.id, session_id: row.session_id, state: row.state, reason: row.close_reason }
}
