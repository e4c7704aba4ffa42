import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { Context } from '../context.ts'

/** How long a bundle may be kept without asking again, in seconds. */
const MAX_AGE_SECONDS = 60

const TrustBundle = Type.Object({
  ref: Type.String({ description: 'Name and version, as in tls_ca_ref of candidates' }),
  format: Type.Literal('pem'),
  certificates: Type.String({ description: 'CA certificates, PEM' }),
})

/** The trust bundle that clients check direct workers against. */
export function trustBundleRoutes(app: RapServer, ctx: Context, trustBundlePem: string): void {
  app.get(
    '/v1/trust-bundle',
    {
      schema: {
        tags: ['trust'],
        summary: 'The CA that signs direct workers',
        response: { 200: TrustBundle },
      },
    },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${MAX_AGE_SECONDS}`)
      return {
        ref: ctx.config.DATA_PLANE_DIRECT_WORKER_TLS_CA_REF,
        format: 'pem' as const,
        certificates: trustBundlePem,
      }
    },
  )
}
