import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { BEARER, IdParams, NoBody } from '../http/schemas.ts'
import { requirePlatformOwner } from '../organizations/access.ts'
import { requireKeyOwner } from './access.ts'
import { KeyName, MasterKeys, Retired, Rewrap, RewrapPlan, Rewraps, Rotated } from './schemas.ts'

/** `/v1/master-keys` and `/v1/rewraps`: the keys that wrap every secret, for owners of the platform alone. */
export function masterKeyRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['master keys'], security: BEARER }
  const onRequest = authenticate(ctx)
  const { masterKeys } = ctx

  app.get(
    '/v1/master-keys',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Every master key, the key sources that are configured, and the resolvers that run',
        response: { 200: MasterKeys },
      },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return await masterKeys.list(caller)
    },
  )

  app.post(
    '/v1/master-keys/rotate',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Make the newest key of a configured source the active one; it may take as long as the source does',
        body: Type.Object({ source: KeyName }),
        response: { 200: Rotated },
      },
    },
    async request => {
      const caller = callerOf(request)
      await requireKeyOwner(ctx, caller, 'rotate')
      return await masterKeys.rotate(request.body.source, caller)
    },
  )

  app.post(
    '/v1/master-keys/:key_id/retire',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Retire a key that nothing is wrapped with any more',
        params: Type.Object({ key_id: KeyName }),
        body: NoBody,
        response: { 200: Retired },
      },
    },
    async request => {
      const caller = callerOf(request)
      await requireKeyOwner(ctx, caller, 'retire')
      return await masterKeys.retire(request.params.key_id, caller)
    },
  )

  app.get(
    '/v1/rewraps/plan',
    {
      onRequest,
      schema: { ...common, summary: 'What a re-wrap would do now', response: { 200: RewrapPlan } },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return await masterKeys.planRewrap(caller)
    },
  )

  app.get(
    '/v1/rewraps',
    { onRequest, schema: { ...common, summary: 'The last re-wraps, the newest first', response: { 200: Rewraps } } },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return await masterKeys.listRewraps(caller)
    },
  )

  app.post(
    '/v1/rewraps',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Wrap with the active key what other keys have wrapped; it goes on by itself',
        body: NoBody,
        response: { 202: Rewrap },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      await requireKeyOwner(ctx, caller, 'rewrap')
      return reply.code(202).send(await masterKeys.startRewrap(caller))
    },
  )

  app.get(
    '/v1/rewraps/:id',
    {
      onRequest,
      schema: { ...common, summary: 'A re-wrap and how far it is', params: IdParams, response: { 200: Rewrap } },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return await masterKeys.readRewrap(request.params.id, caller)
    },
  )
}
