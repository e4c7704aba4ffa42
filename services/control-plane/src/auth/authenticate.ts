import { commonProblems } from '@rap/service-kit'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import type { Context } from '../context.ts'
import type { Caller, Origin } from './caller.ts'
import { hashOfToken } from './opaque-tokens.ts'
import { auditRefusedToken } from './refused-tokens.ts'
import { findCaller } from './storage.ts'

const callers = new WeakMap<FastifyRequest, Caller>()

const BEARER = /^Bearer ([A-Za-z0-9_-]{1,100})$/i

/** Where a request comes from, for the audit. */
export function originOf(request: FastifyRequest): Origin {
  return { requestId: request.id, clientAddress: request.ip }
}

/** Fastify hook: finds the caller of an access token (RFC 6750 §2.1), or throws ERR_UNAUTHENTICATED; a token that is refused is audited. */
export function authenticate(ctx: Pick<Context, 'sql' | 'refusals'>): onRequestAsyncHookHandler {
  return async (request, reply) => {
    const row = await readCaller(ctx, request)
    if (row === undefined) {
      if (request.headers.authorization !== undefined) {
        await auditRefusedToken(ctx, { kind: 'access', tokenHash: accessTokenHash(request), origin: originOf(request) })
      }
      reply.header('www-authenticate', 'Bearer')
      throw commonProblems.ERR_UNAUTHENTICATED()
    }
    callers.set(request, { ...row, origin: originOf(request) })
  }
}

/** The caller that a valid access token names, or undefined. */
export async function readCaller(ctx: Pick<Context, 'sql'>, request: FastifyRequest) {
  const tokenHash = accessTokenHash(request)
  return tokenHash === undefined ? undefined : await findCaller(ctx.sql, tokenHash)
}

function accessTokenHash(request: FastifyRequest): Buffer | undefined {
  const [, token] = BEARER.exec(request.headers.authorization ?? '') ?? []
  return token === undefined ? undefined : hashOfToken('access', token)
}

/** The caller of a route behind `authenticate`; throws ERR_UNAUTHENTICATED where the hook did not run. */
export function callerOf(request: FastifyRequest): Caller {
  const caller = callers.get(request)
  if (caller === undefined) throw commonProblems.ERR_UNAUTHENTICATED()
  return caller
}
