import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, IdParams, NoBody, Nullable, Time, Uuid } from '../http/schemas.ts'
import { organizationsFor, requirePlatformOwner } from '../organizations/access.ts'
import { revokeWorker } from '../revocation/revoke.ts'
import { RevokedIdentity, revokedView } from '../revocation/routes.ts'
import type { WorkerLoad } from './choose-worker.ts'
import { LabelsSchema } from './labels.ts'
import { readHeartbeats } from './registry.ts'
import { listWorkers, type WorkerRow } from './storage.ts'

const Worker = Type.Object({
  id: Uuid,
  name: Type.String(),
  labels: LabelsSchema,
  public_url: Type.String(),
  version: Type.String(),
  state: Type.String(),
  alive: Type.Boolean({ description: 'A heartbeat is there and says that the worker takes traffic' }),
  load: Nullable(Type.Object({ sessions: Type.Integer(), max_sessions: Type.Integer() })),
  live_attachments: Type.Integer(),
  created_at: Time,
  announced_at: Time,
  revoked_at: Nullable(Time),
})

/** `/v1/workers`: the machines of the platform. */
export function workerRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['workers'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/workers',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'List workers, for owners and admins of any organization and of the platform',
        querystring: Type.Object(PageQuery),
        response: { 200: PageOf(Worker) },
      },
    },
    async request => {
      const caller = callerOf(request)
      if (caller.platform_role !== 'owner') {
        await organizationsFor(ctx.sql, caller, { organizationId: undefined, permission: 'workers.list' })
      }
      const limit = limitOf(request.query)
      const after = readTimeCursor(request.query.cursor)
      const rows = await listWorkers(ctx.sql, { after, limit: limit + 1 })
      const ids = rows.map(row => row.id)
      // Without Redis the list still says who is registered.
      const heartbeats = await readHeartbeats(ctx.redis, ids).catch(() => new Map<string, WorkerLoad>())
      return pageOf(rows, limit, { place: row => row.place, item: row => workerView(row, heartbeats.get(row.id)) })
    },
  )

  app.post(
    '/v1/workers/:id/revoke',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Revoke a worker for good: its sessions end, and everybody refuses it within seconds',
        params: IdParams,
        body: NoBody,
        response: { 200: RevokedIdentity },
      },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return revokedView(await revokeWorker(ctx, caller, request.params.id))
    },
  )
}

function workerView(row: WorkerRow & { live_attachments: number }, load: WorkerLoad | undefined) {
  return {
    id: row.id,
    name: row.name,
    labels: row.labels,
    public_url: row.public_url,
    version: row.version,
    state: row.state,
    alive: row.state === 'active' && load?.trafficReady === true,
    load: load === undefined ? null : { sessions: load.sessions, max_sessions: load.maxSessions },
    live_attachments: row.live_attachments,
    created_at: row.created_at.toISOString(),
    announced_at: row.announced_at.toISOString(),
    revoked_at: row.revoked_at?.toISOString() ?? null,
  }
}
