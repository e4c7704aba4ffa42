import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, Display, IdParams, NoBody, OrganizationQuery, Thumbprint, Uuid } from '../http/schemas.ts'
import { organizationsFor } from '../organizations/access.ts'
import { can } from '../organizations/permissions.ts'
import { requireSession } from './access.ts'
import { detachSession, terminateSession } from './finish.ts'
import { requestHashOf } from './idempotency.ts'
import { dataPlaneOf } from './ready.ts'
import { attachSession, startSession } from './start.ts'
import { SESSION_STATES } from './states.ts'
import { listSessions, newestAttachment } from './storage.ts'
import {
  attachmentView,
  DataPlaneAnswer,
  Session,
  SessionWithAttachment,
  StartedAnswer,
  sessionView,
  startedView,
} from './view.ts'

/** The two ways to leave a session; they differ in what becomes of the desktop. */
const ENDS = [
  {
    path: '/v1/sessions/:id/detach',
    summary: 'Close the connection to the target; the desktop stays there',
    end: detachSession,
  },
  { path: '/v1/sessions/:id/terminate', summary: 'End a session for good', end: terminateSession },
] as const

/** `/v1/sessions`. */
export function sessionRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['sessions'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.post(
    '/v1/sessions',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Start a session; answers when its worker is ready, or says exactly why not',
        headers: Type.Object({
          'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 128, pattern: '^[\\x21-\\x7e]+$' })),
        }),
        body: Type.Object({ resource_id: Uuid, dpop_jkt: Thumbprint, display: Type.Optional(Display) }),
        response: { 201: StartedAnswer },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { resource_id: resourceId, dpop_jkt: dpopJkt, display } = request.body
      const key = request.headers['idempotency-key']
      const started = await startSession(ctx, caller, {
        resourceId,
        dpopJkt,
        display,
        idempotent:
          key === undefined ? undefined : { userId: caller.id, key, requestHash: requestHashOf(request.body) },
      })
      return reply.code(201).send(startedView(started))
    },
  )

  app.get(
    '/v1/sessions',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'List sessions, newest first; operators see their own',
        querystring: Type.Object({
          ...PageQuery,
          ...OrganizationQuery,
          state: Type.Optional(Type.Union(SESSION_STATES.map(state => Type.Literal(state)))),
          resource_id: Type.Optional(Uuid),
        }),
        response: { 200: PageOf(Session) },
      },
    },
    async request => {
      const caller = callerOf(request)
      const { state, resource_id: resourceId, organization_id: organizationId } = request.query
      const organizations = await organizationsFor(ctx.sql, caller, { organizationId, permission: 'resources.read' })
      const everything = await readableOrganizations(caller.id, organizations)
      const limit = limitOf(request.query)
      const rows = await listSessions(
        ctx.sql,
        { organizationIds: everything, ownOnlyIn: organizations, userId: caller.id, state: state as never, resourceId },
        { after: readTimeCursor(request.query.cursor), limit: limit + 1 },
      )
      return pageOf(rows, limit, { place: row => row.place, item: sessionView })
    },
  )

  app.get(
    '/v1/sessions/:id',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'One session with its newest attachment',
        params: IdParams,
        response: { 200: SessionWithAttachment },
      },
    },
    async request => {
      const session = await requireSession(ctx.sql, callerOf(request), { id: request.params.id, use: 'read' })
      const attachment = await newestAttachment(ctx.sql, session.id)
      return {
        ...sessionView(session),
        attachment: attachment === undefined ? null : attachmentView(attachment, session),
      }
    },
  )

  app.post(
    '/v1/sessions/:id/attachments',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Attach to a session again; takeover closes a live attachment',
        params: IdParams,
        body: Type.Object({
          dpop_jkt: Thumbprint,
          takeover: Type.Optional(Type.Boolean()),
          display: Type.Optional(Display),
        }),
        response: { 201: StartedAnswer },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const session = await requireSession(ctx.sql, caller, { id: request.params.id, use: 'attach' })
      const { dpop_jkt: dpopJkt, takeover = false, display } = request.body
      const started = await attachSession(ctx, caller, { session, input: { dpopJkt, takeover, display } })
      return reply.code(201).send(startedView(started))
    },
  )

  app.post(
    '/v1/sessions/:id/data-plane-token',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'A fresh token for the attachment in force, for the same key',
        params: IdParams,
        body: NoBody,
        response: { 200: Type.Object({ data_plane: DataPlaneAnswer }) },
      },
    },
    async request => {
      const session = await requireSession(ctx.sql, callerOf(request), { id: request.params.id, use: 'attach' })
      return { data_plane: await dataPlaneOf(ctx, session, await newestAttachment(ctx.sql, session.id)) }
    },
  )

  for (const { path, summary, end } of ENDS) {
    app.post(
      path,
      { onRequest, schema: { ...common, summary, params: IdParams, body: NoBody, response: { 200: Session } } },
      async request => {
        const caller = callerOf(request)
        const session = await requireSession(ctx.sql, caller, { id: request.params.id, use: 'end' })
        return sessionView(await end(ctx, caller, session.id))
      },
    )
  }

  /** Of these organizations, those in which the user sees everybody's sessions. */
  async function readableOrganizations(userId: string, organizationIds: readonly string[]): Promise<string[]> {
    const rows = await ctx.sql<{ organization_id: string; role: Parameters<typeof can>[0] }[]>`
      select organization_id, role from rap.memberships
      where user_id = ${userId} and organization_id = any(${organizationIds as string[]})`
    return rows.filter(row => can(row.role, 'sessions.read_any')).map(row => row.organization_id)
  }
}
