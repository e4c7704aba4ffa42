import type { FastifyInstance, FastifyReply } from 'fastify'

/** Right for an API that serves JSON; a route that serves pages sets its own values and keeps them. */
const HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

/** One year, in seconds. */
const HSTS = 'max-age=31536000'

/** Names of this very machine: what listens on its other ports is none of our business. */
const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i

interface HeaderOptions {
  hasTls: boolean
}

/** Sets every header that the answer does not have yet. */
export function setSecurityHeaders(reply: FastifyReply, { hasTls }: HeaderOptions): void {
  for (const [name, value] of Object.entries(HEADERS)) if (!reply.hasHeader(name)) reply.header(name, value)
  // HSTS is for a host, whatever the port: on localhost it would keep the developer's browser from every plain server there.
  if (!hasTls || LOCAL_HOST.test(reply.request.headers.host ?? '')) return
  if (!reply.hasHeader('strict-transport-security')) reply.header('strict-transport-security', HSTS)
}

export function addSecurityHeaders(app: FastifyInstance, options: HeaderOptions): void {
  app.addHook('onSend', async (_request, reply, payload) => {
    setSecurityHeaders(reply, options)
    return payload
  })
}
