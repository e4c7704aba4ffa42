import { commonProblems, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '../context.ts'
import { isKnown } from '../http/etag.ts'
import { Nullable } from '../http/schemas.ts'
import type { PublishedBundle } from './platform-ca.ts'
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

function send(
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  { ref, version, certificates, sha256, signed }: PublishedBundle,
  cacheControl: string,
) {
  reply.header('cache-control', cacheControl).header('cross-origin-resource-policy', 'cross-origin')
  if (isKnown(request, reply, `"${sha256}"`)) return reply.code(304).send() as never
  return { ref, version, format: 'pem' as const, certificates, sha256, signed } as never
}
