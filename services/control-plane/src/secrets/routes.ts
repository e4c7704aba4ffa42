import { commonProblems, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { BEARER, IdParams } from '../http/schemas.ts'
import { SealingKey, SecretMetadata, SecretVersions } from './resolver.ts'
import { deleteSecret, readSecretMetadata, readSecretVersions, rollbackSecret, writeSecret } from './rules.ts'
import { MAX_SEALED_CHARACTERS } from './seal-header.ts'

const MAX_VERSION = 2_147_483_646
/** A version that somebody has seen in force; 0 for none. */
const Version = Type.Integer({ minimum: 0, maximum: MAX_VERSION })

/** `/v1/secret-sealing-key` and the secret of a resource: sealed bytes in, metadata out. */
export function secretRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['secrets'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/secret-sealing-key',
    {
      onRequest,
      schema: { ...common, summary: 'The key that secrets are sealed to', response: { 200: SealingKey } },
    },
    async () => await ctx.resolver.sealingKey(),
  )

  app.put(
    '/v1/resources/:id/secret',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Write or rotate the secret; the payload is sealed by the client (JWE)',
        params: IdParams,
        body: Type.Object({
          sealed: Type.String({ minLength: 1, maxLength: MAX_SEALED_CHARACTERS }),
          expected_version: Type.Optional(Version),
        }),
        response: { 200: SecretMetadata },
      },
    },
    async request => {
      const { sealed, expected_version: expectedVersion } = request.body
      return await writeSecret(ctx, callerOf(request), { id: request.params.id, sealed, expectedVersion })
    },
  )

  app.get(
    '/v1/resources/:id/secret',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Metadata of the secret; never the secret',
        params: IdParams,
        response: { 200: SecretMetadata },
      },
    },
    async request => await readSecretMetadata(ctx, callerOf(request), request.params.id),
  )

  app.get(
    '/v1/resources/:id/secret/versions',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'The history of the secret, the newest version first; metadata only',
        params: IdParams,
        response: { 200: SecretVersions },
      },
    },
    async request => await readSecretVersions(ctx, callerOf(request), request.params.id),
  )

  app.post(
    '/v1/resources/:id/secret/rollback',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Put an older version in force again, as a new version',
        params: IdParams,
        body: Type.Object({
          to_version: Type.Integer({ minimum: 1, maximum: MAX_VERSION }),
          expected_version: Type.Optional(Version),
        }),
        response: { 200: SecretMetadata },
      },
    },
    async request => {
      const { to_version: toVersion, expected_version: expectedVersion } = request.body
      return await rollbackSecret(ctx, callerOf(request), { id: request.params.id, toVersion, expectedVersion })
    },
  )

  app.delete(
    '/v1/resources/:id/secret',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Delete the secret',
        params: IdParams,
        querystring: Type.Object({ expected_version: Type.Optional(Version) }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      if (request.body !== undefined && request.body !== null) throw commonProblems.ERR_VALIDATION()
      await deleteSecret(ctx, callerOf(request), {
        id: request.params.id,
        expectedVersion: request.query.expected_version,
      })
      return reply.code(204).send(null)
    },
  )
}
