import type { RapServer } from '@rap/service-kit'
import { JWKS_MAX_AGE_SECONDS } from '@rap/token-claims'
import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import type { Context } from '../context.ts'
import { etagOf, isKnown } from '../http/etag.ts'

const Jwk = Type.Object({
  kty: Type.Literal('RSA'),
  n: Type.String(),
  e: Type.String(),
  kid: Type.String(),
  alg: Type.Literal('RS256'),
  use: Type.Literal('sig'),
})

/**
 * The key set: public, and also on the internal listener, so that services need no authority but the platform's to fetch it.
 *
 * It has no `stale-while-revalidate`: a cache that answers with an old set would keep a key valid that is taken back.
 */
export function keySetRoute(app: RapServer, ctx: Context): void {
  app.get(
    '/.well-known/jwks.json',
    {
      schema: {
        tags: ['trust'],
        summary: 'Public keys of the data plane',
        response: { 200: Type.Object({ keys: Type.Array(Jwk) }) },
      },
    },
    async (request, reply: FastifyReply) => {
      const set = await ctx.signing.keySet()
      reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_SECONDS}`)
      // It is public, and a page on another origin may check a token with it.
      reply.header('cross-origin-resource-policy', 'cross-origin')
      if (isKnown(request, reply, etagOf(JSON.stringify(set)))) return reply.code(304).send() as never
      return set as never
    },
  )
}
