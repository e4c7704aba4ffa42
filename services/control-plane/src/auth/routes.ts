import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { BEARER, Nullable, Time, Uuid } from '../http/schemas.ts'
import { permissionsOf } from '../organizations/permissions.ts'
import { authenticate, callerOf, originOf, readCaller } from './authenticate.ts'
import { changePassword, type LoggedIn, login, logoutByRefreshToken, logoutCaller, refresh } from './login.ts'
import { ACCESS_TOKEN_SECONDS, MAX_TOKEN_CHARACTERS } from './opaque-tokens.ts'
import { MAX_PASSWORD_CHARACTERS } from './passwords.ts'
import { clearRefreshCookie, readRefreshCookie, requirePortalOrigin, setRefreshCookie } from './refresh-cookie.ts'
import { membershipsOf } from './storage.ts'

const Password = Type.String({ minLength: 1, maxLength: MAX_PASSWORD_CHARACTERS })
const RefreshMode = Type.Union([Type.Literal('body'), Type.Literal('cookie')], {
  description: 'Where the refresh token goes: into the answer, or into a cookie that scripts cannot read',
})

const User = Type.Object({
  id: Uuid,
  email: Type.String(),
  display_name: Type.String(),
  platform_role: Nullable(Type.String()),
})

const TokensAnswer = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Seconds' }),
  expires_at: Time,
  refresh_token: Type.Optional(Type.String({ description: 'Only in refresh mode body; it can be used once' })),
  user: User,
})

const MeAnswer = Type.Object({
  user: User,
  memberships: Type.Array(
    Type.Object({
      organization_id: Uuid,
      organization_name: Type.String(),
      role: Type.String(),
      permissions: Type.Array(Type.String()),
    }),
  ),
})

/** `/v1/auth/*`, `/v1/me` and the change of one's own password. */
export function authRoutes(app: RapServer, ctx: Context): void {
  const origins = ctx.config.CONTROL_PLANE_PUBLIC_ORIGINS
  const tags = ['auth']

  app.post(
    '/v1/auth/login',
    {
      schema: {
        tags,
        summary: 'Log in',
        body: Type.Object({
          email: Type.String({ minLength: 3, maxLength: 254 }),
          password: Password,
          refresh: Type.Optional(RefreshMode),
        }),
        response: { 200: TokensAnswer },
      },
    },
    async (request, reply) => {
      const byCookie = request.body.refresh === 'cookie'
      if (byCookie) requirePortalOrigin(request, origins)
      return answer(reply, await login(ctx, request.body, originOf(request)), byCookie)
    },
  )

  app.post(
    '/v1/auth/refresh',
    {
      schema: {
        tags,
        summary: 'Trade a refresh token for new tokens',
        body: Type.Optional(
          Nullable(Type.Object({ refresh_token: Type.Optional(Type.String({ maxLength: MAX_TOKEN_CHARACTERS })) })),
        ),
        response: { 200: TokensAnswer },
      },
    },
    async (request, reply) => {
      const inBody = request.body?.refresh_token
      const token = inBody ?? cookieToken(request)
      if (token === undefined) throw problems.ERR_AUTH_REFRESH_INVALID()
      try {
        return answer(reply, await refresh(ctx, token, originOf(request)), inBody === undefined)
      } catch (error) {
        if (inBody === undefined) clearRefreshCookie(reply)
        throw error
      }
    },
  )

  app.post(
    '/v1/auth/logout',
    {
      schema: {
        tags,
        summary: 'Log out: ends the log-in of the refresh token, of the cookie, or of the access token',
        body: Type.Optional(
          Nullable(Type.Object({ refresh_token: Type.Optional(Type.String({ maxLength: MAX_TOKEN_CHARACTERS })) })),
        ),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const token = request.body?.refresh_token ?? cookieToken(request)
      if (token !== undefined) await logoutByRefreshToken(ctx, token, originOf(request))
      const caller = await readCaller(ctx, request)
      if (caller !== undefined) await logoutCaller(ctx, { ...caller, origin: originOf(request) })
      if (request.body?.refresh_token === undefined) clearRefreshCookie(reply)
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/v1/me',
    {
      onRequest: authenticate(ctx),
      schema: { tags, summary: 'Who am I, and what may I do', security: BEARER, response: { 200: MeAnswer } },
    },
    async request => {
      const caller = callerOf(request)
      const memberships = await membershipsOf(ctx.sql, caller.id)
      return {
        user: caller,
        memberships: memberships.map(membership => ({ ...membership, permissions: permissionsOf(membership.role) })),
      }
    },
  )

  app.post(
    '/v1/me/password',
    {
      onRequest: authenticate(ctx),
      schema: {
        tags,
        summary: 'Change my password; every other log-in of mine ends',
        security: BEARER,
        body: Type.Object({ current_password: Password, new_password: Password }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { current_password: current, new_password: next } = request.body
      await changePassword(ctx, callerOf(request), { current, next })
      return reply.code(204).send(null)
    },
  )

  /** The cookie's token; a call that has one must come from the portal. */
  function cookieToken(request: FastifyRequest): string | undefined {
    const token = readRefreshCookie(request)
    if (token !== undefined) requirePortalOrigin(request, origins)
    return token
  }
}

function answer(reply: FastifyReply, { user, tokens }: LoggedIn, byCookie: boolean) {
  if (byCookie) setRefreshCookie(reply, tokens.refreshToken, tokens.refreshExpiresAt)
  return {
    access_token: tokens.accessToken,
    token_type: 'Bearer' as const,
    expires_in: ACCESS_TOKEN_SECONDS,
    expires_at: tokens.accessExpiresAt.toISOString(),
    ...(byCookie ? {} : { refresh_token: tokens.refreshToken }),
    user: { id: user.id, email: user.email, display_name: user.display_name, platform_role: user.platform_role },
  }
}
