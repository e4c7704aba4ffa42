import type { RapServer } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, IdParams, Uuid } from '../http/schemas.ts'
import { requireResource } from '../resources/access.ts'
import { listGrants } from './grants.ts'
import { changePolicy, checkDocument, explainPolicy, type PolicyChange, readPolicy } from './rules.ts'
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
type Ids = Static<typeof GrantParams>

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

/** Where policies are written: the three differ in the place alone. */
const PLACES = [
  {
    url: '/v1/organizations/:id/policy',
    params: IdParams,
    named: ({ id }: Ids) => ({ organizationId: id }),
    changed: ChangedOrganizationPolicy,
    view: organizationPolicyView,
    put: 'Write the policy of an organization; live sessions follow at once',
    delete: 'Delete the policy of an organization; live sessions follow at once',
  },
  {
    url: '/v1/resources/:id/policy',
    params: IdParams,
    named: ({ id }: Ids) => ({ resourceId: id }),
    changed: ChangedResourcePolicy,
    view: resourcePolicyView,
    put: 'Write the policy of a resource, which narrows that of its organization; live sessions follow at once',
    delete: 'Delete the policy of a resource; live sessions follow at once',
  },
  {
    url: '/v1/resources/:id/grants/:user_id',
    params: GrantParams,
    named: ({ id, user_id }: Ids) => ({ resourceId: id, userId: user_id }),
    changed: ChangedGrant,
    view: grantPolicyView,
    put: 'Write what one member may do on a resource; it only narrows, and live sessions follow at once',
    delete: 'Take the grant of one member away: what holds for everybody holds for them',
  },
] as const

/** Policies, grants, and what they come to. */
export function policyRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['policies'], security: BEARER }
  const onRequest = authenticate(ctx)

  for (const { url, params, named, changed, view, ...summaries } of PLACES) {
    const change = async (request: FastifyRequest, made: PolicyChange) => {
      const given = { named: named(request.params as Ids), change: made }
      const done = await changePolicy(ctx, callerOf(request), given)
      return { ...view(done), sessions_changed: done.sessionsChanged } as never
    }

    app.put(
      url,
      {
        onRequest,
        schema: { ...common, summary: summaries.put, params, body: PolicyBody, response: { 200: changed } },
      },
      async request => {
        const { document, version } = request.body
        return await change(request, { document: checkDocument(document), version })
      },
    )

    app.delete(
      url,
      {
        onRequest,
        schema: { ...common, summary: summaries.delete, params, querystring: VersionQuery, response: { 200: changed } },
      },
      async request => await change(request, { document: null, version: request.query.version }),
    )
  }

  app.get(
    '/v1/organizations/:id/policy',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'The policy of an organization',
        params: IdParams,
        response: { 200: OrganizationPolicy },
      },
    },
    async request =>
      organizationPolicyView(await readPolicy(ctx, callerOf(request), { organizationId: request.params.id })),
  )

  app.get(
    '/v1/resources/:id/policy',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'The policy of a resource, which narrows that of its organization',
        params: IdParams,
        response: { 200: ResourcePolicy },
      },
    },
    async request => resourcePolicyView(await readPolicy(ctx, callerOf(request), { resourceId: request.params.id })),
  )

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
