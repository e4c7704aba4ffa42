import type { FastifyInstance } from 'fastify'

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

export function addSecurityHeaders(app: FastifyInstance, { hasTls }: { hasTls: boolean }): void {
  app.addHook('onSend', async (_request, reply, payload) => {
    for (const [name, value] of Object.entries(HEADERS)) if (!reply.hasHeader(name)) reply.header(name, value)
    if (hasTls && !reply.hasHeader('strict-transport-security')) reply.header('strict-transport-security', HSTS)
    return payload
  })
}
