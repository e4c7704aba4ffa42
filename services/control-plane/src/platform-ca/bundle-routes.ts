import { commonProblems, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '../context.ts'
import { Nullable } from '../http/schemas.ts'
import { findBundle } from './store.ts'

/** How long the newest bundle may be kept without asking again, in seconds. */
const MAX_AGE_SECONDS = 60
/** A numbered one never changes. */
const IMMUTABLE = 'public, max-age=31536000, immutable'

const TrustBundleView = Type.Object({
  ref: Type.String({ description: 'Name and version, as in tls_ca_ref of candidates' }),
  version: Type.Integer({ description: '0 where the CA is not managed by this platform' }),
  format: Type.Literal('pem'),
  certificates: Type.String({ description: 'CA certificates, PEM' }),
  sha256: Type.String({ description: 'Base64url of SHA-256 over the signed payload' }),
  signed: Nullable(
    Type.Object(
      {
        payload: Type.String(),
        signatures: Type.Array(Type.Object({ protected: Type.String(), signature: Type.String() })),
      },
      { description: 'The same as JWS (RFC 7515 §7.2.1), signed by a root of the version before; null for version 0' },
    ),
  ),
})

/** The trust bundles: public, and the same on the internal listener under `/internal`. */
export function trustBundleRoutes(app: RapServer, ctx: Context, prefix: '' | '/internal'): void {
  const tags = ['trust']
  app.get(
    `${prefix}/v1/trust-bundle`,
    {
      schema: {
        tags,
        summary: 'The roots that clients check direct workers against',
        response: { 200: TrustBundleView },
      },
    },
    async (request, reply) => {
      const bundle = await ctx.platformCa.bundle()
      if (bundle === undefined) throw commonProblems.ERR_NOT_FOUND()
      return send({ request, reply }, bundle, `public, max-age=${MAX_AGE_SECONDS}`)
    },
  )

  app.get(
    `${prefix}/v1/trust-bundles/:version`,
    {
      schema: {
        tags,
        summary: 'One version of the trust bundle: a client that holds an older one takes every step in between',
        params: Type.Object({ version: Type.Integer({ minimum: 1, maximum: 100_000 }) }),
        response: { 200: TrustBundleView },
      },
    },
    async (request, reply) => {
      const bundle = await findBundle(ctx.sql, request.params.version)
      if (bundle === undefined) throw commonProblems.ERR_NOT_FOUND()
      return send({ request, reply }, bundle, IMMUTABLE)
    },
  )
}

type Sent = Pick<import('./platform-ca.ts').PublishedBundle, 'ref' | 'version' | 'certificates' | 'sha256' | 'signed'>

/** RFC 9110 §13.1.2: nothing is sent again to whoever has it. */
function send(
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  { ref, version, certificates, sha256, signed }: Sent,
  cacheControl: string,
) {
  const etag = `"${sha256}"`
  reply.header('etag', etag).header('cache-control', cacheControl)
  reply.header('cross-origin-resource-policy', 'cross-origin')
  const known = (request.headers['if-none-match'] ?? '').split(',').map(tag => tag.trim().replace(/^W\//, ''))
  if (known.includes(etag) || known.includes('*')) return reply.code(304).send() as never
  return { ref, version, format: 'pem' as const, certificates, sha256, signed } as never
}
