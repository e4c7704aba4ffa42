import type { FastifyInstance } from 'fastify'

/**
 * Ends each connection with the answer that is under way on it once the server closes. Without this, a connection that
 * was busy when the close began is kept alive after its answer, and the close waits for a minute of silence on it.
 */
export function endConnectionsOnClose(app: FastifyInstance): void {
  let isClosing = false
  app.addHook('preClose', async () => {
    isClosing = true
  })
  app.addHook('onSend', async (_request, reply, payload) => {
    if (isClosing) reply.header('connection', 'close')
    return payload
  })
}
