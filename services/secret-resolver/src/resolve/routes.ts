import { peerIdentity, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { RecipientJwk } from './answer.ts'
import type { RateLimit } from './rate-limit.ts'
import { type ResolveDeps, resolveSecret } from './resolve.ts'

/** Longest lease token that is looked at, in characters. */
const MAX_LEASE_TOKEN_CHARACTERS = 4096

const ResolveBody = Type.Object({
  lease_token: Type.String({ minLength: 1, maxLength: MAX_LEASE_TOKEN_CHARACTERS }),
  recipient_jwk: RecipientJwk,
})

/** The one route for workers. Its identity check is the first of `RESOLVE_CHECKS`, so that every refusal looks the same. */
export function addResolveRoute(app: RapServer, deps: ResolveDeps & { readonly limitWorker: RateLimit }): void {
  app.post(
    '/v1/resolve',
    {
      schema: { body: ResolveBody },
      // Before the body is read: a flood costs a counter, not a signature check.
      onRequest: async request => {
        const caller = peerIdentity(request)
        if (caller?.kind === 'worker') await deps.limitWorker(caller.id)
      },
    },
    async request => {
      const { lease_token: leaseToken, recipient_jwk: recipientJwk } = request.body
      return await resolveSecret(
        {
          leaseToken,
          recipientJwk,
          caller: peerIdentity(request),
          requestId: request.id,
          logger: request.log as never,
        },
        deps,
      )
    },
  )
}
