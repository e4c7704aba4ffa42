import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { Context } from '../context.ts'
import { type Identify, peerOf, requirePeer } from '../http/peer.ts'
import { DisplayText, Uuid } from '../http/schemas.ts'
import { TELLS_REVOKED } from '../revocation/tell.ts'
import { announceWorker } from './announce.ts'
import { LabelsSchema } from './labels.ts'

/** How workers make themselves known. */
export function internalWorkerRoutes(app: RapServer, ctx: Context, identify: Identify): void {
  app.post(
    '/internal/v1/workers/self',
    {
      onRequest: requirePeer(identify, { kind: 'worker' }),
      config: TELLS_REVOKED,
      schema: {
        body: Type.Object({
          name: Type.Optional(DisplayText(200)),
          labels: Type.Optional(LabelsSchema),
          public_url: Type.String({ minLength: 1, maxLength: 512 }),
          version: Type.Optional(Type.String({ maxLength: 100, pattern: '^[A-Za-z0-9._+ -]*$' })),
          // Said for the record; the one that counts is read from the connection.
          certificate_thumbprint: Type.Optional(Type.String({ maxLength: 64 })),
          runtime_transports: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 8 })),
        }),
        response: {
          200: Type.Object({
            worker_id: Uuid,
            state: Type.String(),
            certificate_thumbprint: Type.String(),
            gateway_url: Type.Union([Type.String(), Type.Null()]),
            // For workers that are given their verification keys as a file.
            active_kid: Type.Union([Type.String(), Type.Null()]),
            next_kid: Type.Union([Type.String(), Type.Null()]),
          }),
        },
      },
    },
    async request => {
      const { body } = request
      const worker = await announceWorker(ctx, peerOf(request), {
        name: body.name,
        labels: body.labels ?? {},
        publicUrl: body.public_url,
        version: body.version ?? '',
      })
      const signing = await ctx.signing.kids()
      return {
        worker_id: worker.id,
        state: worker.state,
        certificate_thumbprint: worker.certificate_thumbprint,
        gateway_url: ctx.config.DATA_PLANE_GATEWAY_URL ?? null,
        active_kid: signing.active,
        next_kid: signing.next,
      }
    },
  )
}
