import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { auditCaller } from '../audit/write.ts'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { BEARER } from '../http/schemas.ts'
import { requirePlatformOwner } from '../organizations/access.ts'

/** How long a key set may be kept, in seconds. A new key is published as `next` for much longer before it signs. */
const JWKS_MAX_AGE_SECONDS = 300

const TAGS = ['trust']

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
 */
export function keySetRoute(app: RapServer, ctx: Context): void {
  app.get(
    '/.well-known/jwks.json',
    {
      schema: {
        tags: TAGS,
        summary: 'Public keys of the data plane',
        response: { 200: Type.Object({ keys: Type.Array(Jwk) }) },
      },
    },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_SECONDS}`)
      // It is public, and a page on another origin may check a token with it.
      reply.header('cross-origin-resource-policy', 'cross-origin')
      return (await ctx.signing.keySet()) as never
    },
  )
}

/** The key set, and the rotation of signing keys. */
export function trustRoutes(app: RapServer, ctx: Context): void {
  const tags = TAGS

  keySetRoute(app, ctx)

  app.post(
    '/v1/signing-keys/rotate',
    {
      onRequest: authenticate(ctx),
      schema: {
        tags,
        summary: 'Rotate the signing keys of the data plane',
        security: BEARER,
        response: {
          200: Type.Object({ previous_kid: Type.String(), active_kid: Type.String(), next_kid: Type.String() }),
        },
      },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return await ctx.sql.begin(async tx => {
        const rotated = await ctx.signing.rotate(tx)
        await auditCaller(tx, caller, {
          organization_id: null,
          event: 'signing_keys_rotated',
          details: { kid: rotated.active_kid, previous_kid: rotated.previous_kid },
        })
        return rotated
      })
    },
  )
}
