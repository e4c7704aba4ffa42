import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { Context } from '../context.ts'
import { type Identify, peerOf, requirePeer } from '../http/peer.ts'
import { IdParams, Nullable } from '../http/schemas.ts'
import { requireActiveWorker } from '../workers/announce.ts'
import { MAX_CERTIFICATE_CHARACTERS, MAX_CHAIN } from './certificate.ts'
import { reportTarget } from './report.ts'

const Code = Type.String({ maxLength: 80, pattern: '^ERR_TARGET_[A-Z0-9_]+$' })

/** `POST /internal/v1/attachments/:id/target-certificate`: what a target showed, before its worker sends it anything. */
export function internalTargetRoutes(app: RapServer, ctx: Context, identify: Identify): void {
  app.post(
    '/internal/v1/attachments/:id/target-certificate',
    {
      onRequest: requirePeer(identify, { kind: 'worker' }),
      schema: {
        params: IdParams,
        body: Type.Object({
          mode: Type.String({ maxLength: 32 }),
          certificates: Type.Array(
            Type.String({ minLength: 4, maxLength: MAX_CERTIFICATE_CHARACTERS, pattern: '^[A-Za-z0-9+/]+={0,2}$' }),
            { minItems: 1, maxItems: MAX_CHAIN },
          ),
          code: Type.Optional(Code),
        }),
        response: {
          200: Type.Object({
            decision: Type.Union([Type.Literal('accepted'), Type.Literal('refused')]),
            code: Nullable(Code),
          }),
        },
      },
    },
    async request => {
      const worker = await requireActiveWorker(ctx, peerOf(request))
      const { mode, certificates, code } = request.body
      return await reportTarget(ctx, worker.id, {
        attachmentId: request.params.id,
        mode,
        certificates,
        code,
        requestId: request.id,
      })
    },
  )
}
