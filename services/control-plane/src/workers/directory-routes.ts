import type { RapServer } from '@rap/service-kit'
import type { Context } from '../context.ts'
import { etagOf, isKnown } from '../http/etag.ts'
import { type Identify, requirePeer } from '../http/peer.ts'
import { readDirectory } from './directory.ts'

/** `GET /internal/v1/workers/directory`: whom the gateway may dial, and where. */
export function directoryRoutes(app: RapServer, ctx: Context, identify: Identify): void {
  app.get(
    '/internal/v1/workers/directory',
    { onRequest: requirePeer(identify, { kind: 'service', id: 'gateway' }), schema: {} },
    async (request, reply) => {
      const text = JSON.stringify(await readDirectory(ctx.sql, ctx.config.DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE))
      reply.header('cache-control', 'no-cache')
      if (isKnown(request, reply, etagOf(text))) return reply.code(304).send()
      return reply.type('application/json; charset=utf-8').send(text)
    },
  )
}
