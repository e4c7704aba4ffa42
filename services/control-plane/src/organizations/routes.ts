import { commonProblems, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { auditCaller } from '../audit/write.ts'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Caller } from '../auth/caller.ts'
import { MAX_PASSWORD_CHARACTERS } from '../auth/passwords.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, DisplayText, IdParams, Time, Uuid } from '../http/schemas.ts'
import { requirePermission, requirePlatformOwner } from './access.ts'
import { addMember, changeRole, removeMember } from './members.ts'
import { ROLES, type Role } from './permissions.ts'
import {
  findOrganization,
  insertMember,
  insertOrganization,
  listMembers,
  listOrganizations,
  type MemberRow,
  updateOrganization,
} from './storage.ts'

const RoleSchema = Type.Union(ROLES.map(role => Type.Literal(role)))

const Organization = Type.Object({ id: Uuid, name: Type.String(), role: Type.String(), created_at: Time })

const Member = Type.Object({
  user_id: Uuid,
  email: Type.String(),
  display_name: Type.String(),
  role: Type.String(),
  created_at: Time,
})

const MemberParams = Type.Object({ id: Uuid, user_id: Uuid })

/** `/v1/organizations` and their members. */
export function organizationRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['organizations'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/organizations',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'The organizations that I am a member of',
        querystring: Type.Object(PageQuery),
        response: { 200: PageOf(Organization) },
      },
    },
    async request => {
      const limit = limitOf(request.query)
      const after = readTimeCursor(request.query.cursor)
      const rows = await listOrganizations(ctx.sql, callerOf(request).id, { after, limit: limit + 1 })
      return pageOf(rows, limit, { place: row => row.place, item: organizationView })
    },
  )

  app.post(
    '/v1/organizations',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Make an organization; the owner of the platform becomes its owner',
        body: Type.Object({ name: DisplayText(200) }),
        response: { 201: Organization },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      const made = await ctx.sql.begin(async tx => {
        const organization = await insertOrganization(tx, request.body.name)
        await insertMember(tx, organization.id, caller.id, 'owner')
        await auditCaller(tx, caller, { organization_id: organization.id, event: 'organization_created' })
        return organization
      })
      return reply.code(201).send(organizationView({ ...made, role: 'owner' }))
    },
  )

  app.get(
    '/v1/organizations/:id',
    {
      onRequest,
      schema: { ...common, summary: 'One organization', params: IdParams, response: { 200: Organization } },
    },
    async request => await readOrganization(callerOf(request), request.params.id),
  )

  app.patch(
    '/v1/organizations/:id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Rename an organization',
        params: IdParams,
        body: Type.Object({ name: DisplayText(200) }),
        response: { 200: Organization },
      },
    },
    async request => {
      const caller = callerOf(request)
      const { id } = request.params
      await requirePermission(ctx.sql, caller, { organizationId: id, permission: 'organization.change' })
      await ctx.sql.begin(async tx => {
        await updateOrganization(tx, id, request.body.name)
        await auditCaller(tx, caller, { organization_id: id, event: 'organization_updated' })
      })
      return await readOrganization(caller, id)
    },
  )

  app.get(
    '/v1/organizations/:id/members',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'The members of an organization',
        params: IdParams,
        querystring: Type.Object(PageQuery),
        response: { 200: PageOf(Member) },
      },
    },
    async request => {
      const { id } = request.params
      await requirePermission(ctx.sql, callerOf(request), { organizationId: id, permission: 'members.list' })
      const limit = limitOf(request.query)
      const after = readTimeCursor(request.query.cursor)
      const rows = await listMembers(ctx.sql, id, { after, limit: limit + 1 })
      return pageOf(rows, limit, { place: row => row.place, item: memberView })
    },
  )

  app.post(
    '/v1/organizations/:id/members',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Add a person, with a first password where the address has no account yet',
        params: IdParams,
        body: Type.Object({
          email: Type.String({ minLength: 3, maxLength: 254, pattern: '^[^\\s@]+@[^\\s@]+$' }),
          role: RoleSchema,
          display_name: Type.Optional(DisplayText(200)),
          password: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_PASSWORD_CHARACTERS })),
        }),
        response: { 201: Type.Composite([Member, Type.Object({ account_made: Type.Boolean() })]) },
      },
    },
    async (request, reply) => {
      const { email, role, password, display_name: displayName } = request.body
      const { member, accountMade } = await addMember(ctx, callerOf(request), request.params.id, {
        email,
        role: role as Role,
        password,
        displayName,
      })
      return reply.code(201).send({ ...memberView(member), account_made: accountMade })
    },
  )

  app.patch(
    '/v1/organizations/:id/members/:user_id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Change the role of a member',
        params: MemberParams,
        body: Type.Object({ role: RoleSchema }),
        response: { 200: Member },
      },
    },
    async request => {
      const { id: organizationId, user_id: userId } = request.params
      const role = request.body.role as Role
      return memberView(await changeRole(ctx, callerOf(request), { organizationId, userId, role }))
    },
  )

  app.delete(
    '/v1/organizations/:id/members/:user_id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Remove a member and end their sessions',
        params: MemberParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { id: organizationId, user_id: userId } = request.params
      await removeMember(ctx, callerOf(request), { organizationId, userId })
      return reply.code(204).send(null)
    },
  )

  async function readOrganization(caller: Caller, id: string) {
    const role = await requirePermission(ctx.sql, caller, { organizationId: id, permission: 'organization.read' })
    const organization = await findOrganization(ctx.sql, id)
    if (organization === undefined) throw commonProblems.ERR_NOT_FOUND()
    return organizationView({ ...organization, role })
  }
}

function organizationView(row: { id: string; name: string; created_at: Date; role: Role }) {
  return { id: row.id, name: row.name, role: row.role, created_at: row.created_at.toISOString() }
}

function memberView(row: MemberRow) {
  return {
    user_id: row.user_id,
    email: row.email,
    display_name: row.display_name,
    role: row.role,
    created_at: row.created_at.toISOString(),
  }
}
