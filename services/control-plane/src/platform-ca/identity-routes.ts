import { commonProblems, type RapServer } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { auditCaller } from '../audit/write.ts'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { limitOf, PageOf, PageQuery, pageOf, readTimeCursor } from '../http/page.ts'
import { BEARER, DisplayText, IdParams, Nullable, Time, Uuid } from '../http/schemas.ts'
import { requirePlatformOwner } from '../organizations/access.ts'
import { LabelsSchema } from '../workers/labels.ts'
import { DEFAULT_TOKEN_SECONDS, MAX_TOKEN_SECONDS, type MadeJoinToken, orderJoinToken } from './enrol.ts'
import { readIdentityCursor } from './identity-cursor.ts'
import {
  deleteJoinToken,
  type IdentityWithCertificate,
  type ListedToken,
  listIdentities,
  listJoinTokens,
} from './register.ts'

/** Services that enrol; the control plane issues to itself. */
const SERVICES = ['gateway', 'secret-resolver'] as const

const Kind = Type.Union([Type.Literal('worker'), Type.Literal('service')])
const Names = {
  dns_names: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 254 }), { maxItems: 32 })),
  ip_addresses: Type.Optional(Type.Array(Type.String({ minLength: 2, maxLength: 45 }), { maxItems: 32 })),
}
const Life = Type.Optional(
  Type.Integer({ minimum: 60, maximum: MAX_TOKEN_SECONDS, default: DEFAULT_TOKEN_SECONDS, description: 'Seconds' }),
)
const JoinToken = Type.Object({
  id: Uuid,
  kind: Kind,
  identity_id: Type.String({ description: 'Id of the worker, or name of the service' }),
  join_token: Type.String({ description: 'Shown once; only its hash is kept' }),
  expires_at: Time,
})
const JoinTokenListed = Type.Object({
  id: Uuid,
  kind: Kind,
  identity_id: Type.String(),
  name: Type.String(),
  dns_names: Type.Array(Type.String()),
  ip_addresses: Type.Array(Type.String()),
  labels: LabelsSchema,
  created_at: Time,
  expires_at: Time,
  used_at: Nullable(Time),
  deleted_at: Nullable(Time),
  state: Type.String({ description: 'open, used, expired or deleted' }),
})
const Identity = Type.Object({
  kind: Kind,
  id: Type.String(),
  name: Type.String(),
  dns_names: Type.Array(Type.String()),
  ip_addresses: Type.Array(Type.String()),
  labels: LabelsSchema,
  state: Type.String({ description: 'active or revoked' }),
  created_at: Time,
  revoked_at: Nullable(Time),
  certificate: Nullable(
    Type.Object({
      serial: Type.String(),
      thumbprint: Type.String(),
      generation: Type.Integer(),
      not_before: Time,
      not_after: Time,
    }),
  ),
})

/** Join tokens and the register of identities, for owners of the platform alone. */
export function identityRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['trust'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.post(
    '/v1/workers/join-tokens',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Register a worker, and make the one-time token that it enrols with',
        body: Type.Object({
          name: DisplayText(200),
          ...Names,
          labels: Type.Optional(LabelsSchema),
          ttl_seconds: Life,
          worker_id: Type.Optional(
            Type.String({ ...Uuid, description: 'A worker that is registered and enrols anew' }),
          ),
        }),
        response: { 201: JoinToken },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      const { body } = request
      const made = await orderJoinToken(ctx, caller, {
        kind: 'worker',
        id: body.worker_id,
        name: body.name,
        dns_names: body.dns_names,
        ip_addresses: body.ip_addresses,
        labels: body.labels ?? {},
        ttlSeconds: body.ttl_seconds ?? DEFAULT_TOKEN_SECONDS,
      })
      return reply.code(201).header('cache-control', 'no-store').send(tokenView(made))
    },
  )

  app.post(
    '/v1/services/join-tokens',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Register a service, and make the one-time token that it enrols with',
        body: Type.Object({
          service: Type.Union(SERVICES.map(service => Type.Literal(service))),
          ...Names,
          ttl_seconds: Life,
        }),
        response: { 201: JoinToken },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      const { service, dns_names, ip_addresses, ttl_seconds } = request.body
      const made = await orderJoinToken(ctx, caller, {
        kind: 'service',
        id: service,
        name: service,
        dns_names,
        ip_addresses,
        labels: {},
        ttlSeconds: ttl_seconds ?? DEFAULT_TOKEN_SECONDS,
      })
      return reply.code(201).header('cache-control', 'no-store').send(tokenView(made))
    },
  )

  app.get(
    '/v1/join-tokens',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'List join tokens, the newest first',
        querystring: Type.Object(PageQuery),
        response: { 200: PageOf(JoinTokenListed) },
      },
    },
    async request => {
      requirePlatformOwner(callerOf(request))
      const limit = limitOf(request.query)
      const rows = await listJoinTokens(ctx.sql, { after: readTimeCursor(request.query.cursor), limit: limit + 1 })
      return pageOf(rows, limit, { place: row => row.place, item: listedView })
    },
  )

  app.delete(
    '/v1/join-tokens/:id',
    {
      onRequest,
      schema: { ...common, summary: 'Delete a join token', params: IdParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      await ctx.sql.begin(async tx => {
        const token = await deleteJoinToken(tx, request.params.id)
        if (token === undefined) throw commonProblems.ERR_NOT_FOUND()
        await auditCaller(tx, caller, {
          organization_id: null,
          event: 'join_token_deleted',
          details: { join_token_id: token.id, identity: `${token.kind}/${token.identity_id}` },
        })
      })
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/v1/identities',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Everybody who may hold a platform certificate, with the newest one',
        querystring: Type.Object(PageQuery),
        response: { 200: PageOf(Identity) },
      },
    },
    async request => {
      requirePlatformOwner(callerOf(request))
      const limit = limitOf(request.query)
      const rows = await listIdentities(ctx.sql, { after: readIdentityCursor(request.query.cursor), limit: limit + 1 })
      return pageOf(rows, limit, { place: row => row.place, item: identityView })
    },
  )
}

function tokenView(made: MadeJoinToken): Static<typeof JoinToken> {
  return { ...made, expires_at: made.expires_at.toISOString() }
}

function listedView({ place: _, ...row }: ListedToken): Static<typeof JoinTokenListed> {
  return {
    ...row,
    created_at: row.created_at.toISOString(),
    expires_at: row.expires_at.toISOString(),
    used_at: row.used_at?.toISOString() ?? null,
    deleted_at: row.deleted_at?.toISOString() ?? null,
  }
}

function identityView(row: IdentityWithCertificate): Static<typeof Identity> {
  const { kind, id, name, dns_names, ip_addresses, labels, state, serial, thumbprint, generation } = row
  return {
    kind,
    id,
    name,
    dns_names,
    ip_addresses,
    labels,
    state,
    created_at: row.created_at.toISOString(),
    revoked_at: row.revoked_at?.toISOString() ?? null,
    certificate:
      serial === null || thumbprint === null || generation === null
        ? null
        : {
            serial,
            thumbprint,
            generation,
            not_before: row.not_before?.toISOString() ?? '',
            not_after: row.not_after?.toISOString() ?? '',
          },
  }
}
