import type { FastifyReply, FastifyRequest } from 'fastify'
import { problems } from '../errors.ts'

/** The browser's refresh token. It is sent to /v1/auth only, never to scripts, never from another site. */
export const COOKIE_NAME = 'rap_refresh'
const ATTRIBUTES = { httpOnly: true, secure: true, sameSite: 'strict', path: '/v1/auth' } as const

export function setRefreshCookie(reply: FastifyReply, token: string, expires: Date): void {
  reply.setCookie(COOKIE_NAME, token, { ...ATTRIBUTES, expires })
}

export function clearRefreshCookie(reply: FastifyReply): void {
  reply.clearCookie(COOKIE_NAME, ATTRIBUTES)
}

export function readRefreshCookie(request: FastifyRequest): string | undefined {
  return request.cookies[COOKIE_NAME]
}

/**
 * Lets a call that uses the cookie pass only when the browser says that it comes from the portal.
 *
 * SameSite=Strict keeps other sites out; the Origin header also keeps out other ports and subdomains of this site.
 * Throws ProblemError ERR_AUTH_ORIGIN_REFUSED, also when the header is missing: browsers send it with every POST.
 */
export function requirePortalOrigin(request: FastifyRequest, origins: readonly string[]): void {
  const { origin } = request.headers
  const site = request.headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') throw problems.ERR_AUTH_ORIGIN_REFUSED({ facts: { site: 'other' } })
  if (origin === undefined || !origins.includes(origin)) throw problems.ERR_AUTH_ORIGIN_REFUSED()
}
