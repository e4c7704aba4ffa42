import { Readable } from 'node:stream'
import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readNumberCursor } from '../http/page.ts'
import { BEARER, Nullable, Time, Uuid } from '../http/schemas.ts'
import { organizationFor, requirePlatformOwner } from '../organizations/access.ts'
import { type AuditFilter, listAuditEvents, PLATFORM_CHAIN } from './storage.ts'
import { auditCaller } from './write.ts'

/** Events that an export reads at a time. */
const EXPORT_BATCH = 500
const NDJSON = 'application/x-ndjson'

const AuditEvent = Type.Object({
  organization_id: Nullable(Uuid),
  sequence: Type.Integer(),
  occurred_at: Type.String({ description: 'RFC 3339 in UTC, with microseconds' }),
  event: Type.String(),
  actor: Type.Object({ kind: Type.String(), id: Type.String() }),
  outcome: Type.String(),
  code: Nullable(Type.String()),
  session_id: Nullable(Uuid),
  attachment_id: Nullable(Uuid),
  resource_id: Nullable(Uuid),
  worker_id: Nullable(Uuid),
  user_id: Nullable(Uuid),
  secret_ref: Nullable(Type.String()),
  request_id: Nullable(Type.String()),
  details: Type.Record(Type.String(), Type.Unknown()),
  previous_hash: Type.String(),
  hash: Type.String(),
})

const Query = Type.Object({
  ...PageQuery,
  organization_id: Type.Optional(
    Type.Union([Uuid, Type.Literal('platform')], { description: 'platform: events that belong to no organization' }),
  ),
  event: Type.Optional(Type.String({ maxLength: 100 })),
  outcome: Type.Optional(Type.Union([Type.Literal('ok'), Type.Literal('refused'), Type.Literal('failed')])),
  session_id: Type.Optional(Uuid),
  resource_id: Type.Optional(Uuid),
  user_id: Type.Optional(Uuid),
  worker_id: Type.Optional(Uuid),
  from: Type.Optional(Time),
  to: Type.Optional(Time),
})

/** `GET /v1/audit-events`: pages, newest first, or the whole chain as JSON lines, oldest first. */
export function auditRoutes(app: RapServer, ctx: Context): void {
  app.get(
    '/v1/audit-events',
    {
      onRequest: authenticate(ctx),
      exposeHeadRoute: false,
      schema: {
        tags: ['audit'],
        security: BEARER,
        summary: `The audit of an organization; with Accept: ${NDJSON} an export, oldest first`,
        querystring: Query,
        response: { 200: { content: { 'application/json': { schema: PageOf(AuditEvent) } } } },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { query } = request
      const chainId = await chainOf(request)
      const filter: AuditFilter = {
        chainId,
        event: query.event,
        outcome: query.outcome,
        sessionId: query.session_id,
        resourceId: query.resource_id,
        userId: query.user_id,
        workerId: query.worker_id,
        from: query.from,
        to: query.to,
      }
      const after = readNumberCursor(query.cursor)
      if (request.headers.accept?.includes(NDJSON) === true) {
        await auditCaller(ctx.sql, caller, {
          organization_id: chainId === PLATFORM_CHAIN ? null : chainId,
          event: 'audit_exported',
        })
        const lines = Readable.from(exportOf(filter, after), { objectMode: false })
        return reply.type(`${NDJSON}; charset=utf-8`).send(lines as never)
      }
      const limit = limitOf(query)
      const rows = await listAuditEvents(ctx.sql, filter, { order: 'newest_first', after, limit: limit + 1 })
      return pageOf(rows, limit, { place: row => String(row.sequence), item: row => row })
    },
  )

  async function chainOf(request: { query: { organization_id?: string } } & Parameters<typeof callerOf>[0]) {
    const caller = callerOf(request)
    const { organization_id: organizationId } = request.query
    if (organizationId === 'platform') {
      requirePlatformOwner(caller)
      return PLATFORM_CHAIN
    }
    return await organizationFor(ctx.sql, caller, { organizationId, permission: 'audit.read' })
  }

  /** The reader sets the pace: the next batch is read when the one before is on its way. */
  async function* exportOf(filter: AuditFilter, start: string | undefined): AsyncGenerator<string, void> {
    for (let after = start; !ctx.signal.aborted; ) {
      const rows = await listAuditEvents(ctx.sql, filter, { order: 'oldest_first', after, limit: EXPORT_BATCH })
      const last = rows.at(-1)
      if (last === undefined) return
      yield rows.map(row => `${JSON.stringify(row)}\n`).join('')
      after = String(last.sequence)
    }
  }
}
