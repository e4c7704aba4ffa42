import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, DisplayText, IdParams, OrganizationQuery, Uuid } from '../http/schemas.ts'
import { organizationsFor } from '../organizations/access.ts'
import { LabelsSchema } from '../workers/labels.ts'
import { requireResource } from './access.ts'
import { MAX_ADDRESS_CHARACTERS } from './address.ts'
import { changeResource, createResource, deleteResource } from './rules.ts'
import { listResources } from './storage.ts'
import { Resource, resourceView } from './view.ts'

const Address = Type.String({
  minLength: 1,
  maxLength: MAX_ADDRESS_CHARACTERS,
  description: 'host:port; an IPv6 address in brackets',
})
/** Any object within the bound of the body: the guard against credentials looks at it before its form is checked. */
const Metadata = Type.Record(Type.String(), Type.Unknown(), {
  description:
    'certificate_verification_mode, certificate_pins, security, render_quality_profile, and short facts. In production names and values that look like credentials are refused with their places: ERR_RESOURCE_PLAINTEXT_CREDENTIALS',
})

/** `/v1/resources`. */
export function resourceRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['resources'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/resources',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'List resources',
        querystring: Type.Object({ ...PageQuery, ...OrganizationQuery }),
        response: { 200: PageOf(Resource) },
      },
    },
    async request => {
      const organizations = await organizationsFor(ctx.sql, callerOf(request), {
        organizationId: request.query.organization_id,
        permission: 'resources.read',
      })
      const limit = limitOf(request.query)
      const after = readTimeCursor(request.query.cursor)
      const rows = await listResources(ctx.sql, organizations, { after, limit: limit + 1 })
      return pageOf(rows, limit, { place: row => row.place, item: resourceView })
    },
  )

  app.post(
    '/v1/resources',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Make a resource; it has no secret yet, and in production no session starts on it before it has one',
        body: Type.Object({
          organization_id: Type.Optional(Uuid),
          name: DisplayText(200),
          protocol: Type.Literal('rdp'),
          address: Address,
          metadata: Type.Optional(Metadata),
          labels: Type.Optional(LabelsSchema),
        }),
        response: { 201: Resource },
      },
    },
    async (request, reply) => {
      const { organization_id: organizationId, ...input } = request.body
      const resource = await createResource(ctx, callerOf(request), { ...input, organizationId })
      return reply.code(201).send(resourceView(resource))
    },
  )

  app.get(
    '/v1/resources/:id',
    { onRequest, schema: { ...common, summary: 'One resource', params: IdParams, response: { 200: Resource } } },
    async request => {
      const { id } = request.params
      return resourceView(await requireResource(ctx.sql, callerOf(request), { id, permission: 'resources.read' }))
    },
  )

  app.patch(
    '/v1/resources/:id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Change a resource; metadata is merged (RFC 7396), labels are replaced',
        params: IdParams,
        body: Type.Object(
          {
            name: Type.Optional(DisplayText(200)),
            address: Type.Optional(Address),
            metadata: Type.Optional(Metadata),
            labels: Type.Optional(LabelsSchema),
          },
          { minProperties: 1 },
        ),
        response: { 200: Resource },
      },
    },
    async request => {
      const { id } = request.params
      return resourceView(await changeResource(ctx, callerOf(request), { id, change: request.body }))
    },
  )

  app.delete(
    '/v1/resources/:id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Delete a resource and its secret; its sessions end',
        params: IdParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await deleteResource(ctx, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
