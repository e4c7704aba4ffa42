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

const TrustBundle = Type.Object({
  ref: Type.String({ description: 'Name and version, as in tls_ca_ref of candidates' }),
  format: Type.Literal('pem'),
  certificates: Type.String({ description: 'CA certificates, PEM' }),
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

/** The key set, the trust bundle, and the rotation of signing keys. */
export function trustRoutes(app: RapServer, ctx: Context, trustBundlePem: string): void {
  const tags = TAGS

  keySetRoute(app, ctx)

  app.get(
    '/v1/trust-bundle',
    { schema: { tags, summary: 'The CA that signs direct workers', response: { 200: TrustBundle } } },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_SECONDS}`)
      return {
        ref: ctx.config.DATA_PLANE_DIRECT_WORKER_TLS_CA_REF,
        format: 'pem' as const,
        certificates: trustBundlePem,
      }
    },
  )

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
