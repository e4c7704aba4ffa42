import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, IdParams, Uuid } from '../http/schemas.ts'
import { requireResource } from '../resources/access.ts'
import { listGrants } from './grants.ts'
import { changePolicy, checkDocument, explainPolicy, readPolicy } from './rules.ts'
import {
  ChangedGrant,
  ChangedOrganizationPolicy,
  ChangedResourcePolicy,
  Document,
  EffectivePolicyAnswer,
  Grant,
  grantPolicyView,
  grantView,
  OrganizationPolicy,
  organizationPolicyView,
  ResourcePolicy,
  resourcePolicyView,
} from './view.ts'

const GrantParams = Type.Object({ id: Uuid, user_id: Uuid })

const SeenVersion = {
  version: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 2 ** 31 - 1,
      description:
        'The version that was read; where it is not the one in force, nothing is changed: ERR_POLICY_CHANGED',
    }),
  ),
}
const PolicyBody = Type.Object({ document: Document, ...SeenVersion })
const VersionQuery = Type.Object(SeenVersion)

/** Policies of an organization and of a resource, which differ in the place alone. */
const PLACES = [
  {
    url: '/v1/organizations/:id/policy',
    whose: 'an organization',
    named: (id: string) => ({ organizationId: id }),
    answer: OrganizationPolicy,
    changed: ChangedOrganizationPolicy,
    view: organizationPolicyView,
  },
  {
    url: '/v1/resources/:id/policy',
    whose: 'a resource, which narrows that of its organization',
    named: (id: string) => ({ resourceId: id }),
    answer: ResourcePolicy,
    changed: ChangedResourcePolicy,
    view: resourcePolicyView,
  },
] as const

/** Policies, grants, and what they come to. */
export function policyRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['policies'], security: BEARER }
  const onRequest = authenticate(ctx)

  for (const { url, whose, named, answer, changed, view } of PLACES) {
    app.get(
      url,
      {
        onRequest,
        schema: { ...common, summary: `The policy of ${whose}`, params: IdParams, response: { 200: answer } },
      },
      async request => view(await readPolicy(ctx, callerOf(request), named(request.params.id))) as never,
    )

    app.put(
      url,
      {
        onRequest,
        schema: {
          ...common,
          summary: `Write the policy of ${whose}; live sessions follow at once`,
          params: IdParams,
          body: PolicyBody,
          response: { 200: changed },
        },
      },
      async request => {
        const { document, version } = request.body
        const change = { document: checkDocument(document), version }
        const done = await changePolicy(ctx, callerOf(request), { named: named(request.params.id), change })
        return { ...view(done), sessions_changed: done.sessionsChanged } as never
      },
    )

    app.delete(
      url,
      {
        onRequest,
        schema: {
          ...common,
          summary: `Delete the policy of ${whose}; live sessions follow at once`,
          params: IdParams,
          querystring: VersionQuery,
          response: { 200: changed },
        },
      },
      async request => {
        const change = { document: null, version: request.query.version }
        const given = { named: named(request.params.id), change }
        const done = await changePolicy(ctx, callerOf(request), given)
        return { ...view(done), sessions_changed: done.sessionsChanged } as never
      },
    )
  }

  app.get(
    '/v1/resources/:id/grants',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'What single members may do on a resource, where that is less than everybody may',
        params: IdParams,
        querystring: Type.Object(PageQuery),
        response: { 200: PageOf(Grant) },
      },
    },
    async request => {
      const { id } = request.params
      await requireResource(ctx.sql, callerOf(request), { id, permission: 'policies.read' })
      const limit = limitOf(request.query)
      const rows = await listGrants(ctx.sql, id, { after: readTimeCursor(request.query.cursor), limit: limit + 1 })
      return pageOf(rows, limit, { place: row => row.place, item: grantView })
    },
  )

  app.put(
    '/v1/resources/:id/grants/:user_id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Write what one member may do on a resource; it only narrows, and live sessions follow at once',
        params: GrantParams,
        body: PolicyBody,
        response: { 200: ChangedGrant },
      },
    },
    async request => {
      const { id: resourceId, user_id: userId } = request.params
      const { document, version } = request.body
      const done = await changePolicy(ctx, callerOf(request), {
        named: { resourceId, userId },
        change: { document: checkDocument(document), version },
      })
      return { ...grantPolicyView(done), sessions_changed: done.sessionsChanged }
    },
  )

  app.delete(
    '/v1/resources/:id/grants/:user_id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Take the grant of one member away: what holds for everybody holds for them',
        params: GrantParams,
        querystring: VersionQuery,
        response: { 200: ChangedGrant },
      },
    },
    async request => {
      const { id: resourceId, user_id: userId } = request.params
      const change = { document: null, version: request.query.version }
      const given = { named: { resourceId, userId }, change }
      const done = await changePolicy(ctx, callerOf(request), given)
      return { ...grantPolicyView(done), sessions_changed: done.sessionsChanged }
    },
  )

  app.get(
    '/v1/resources/:id/effective-policy',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'What I, or another member, may do on a resource, and which policy decided it',
        params: IdParams,
        querystring: Type.Object({
          user_id: Type.Optional(Type.String({ ...Uuid, description: 'Default: the caller' })),
        }),
        response: { 200: EffectivePolicyAnswer },
      },
    },
    async request => {
      const caller = callerOf(request)
      const resourceId = request.params.id
      const userId = request.query.user_id ?? caller.id
      const decision = await explainPolicy(ctx, caller, { resourceId, userId })
      return { resource_id: resourceId, user_id: userId, ...decision }
    },
  )
}
