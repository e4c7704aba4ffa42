import fastifyHttpProxy from '@fastify/http-proxy'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import Fastify from 'fastify'
import { Agent, buildConnector } from 'undici'

export interface FrontOptions {
  readonly port: number
  /** https URL of the control plane: API and portal. */
  readonly controlPlaneUrl: string
  /** http URL of the gateway's plain listener on this machine. */
  readonly gatewayUrl: string
  /** Read for each connection: the demo's CA can be rotated. */
  readonly caPem: () => string
}

export interface Front {
  close(): Promise<void>
}

/**
 * What stands where your ingress stands: portal, API and gateway on one origin.
 *
 * It speaks plain HTTP on this machine's loopback alone, which browsers treat as a secure context, so that a newcomer's browser needs no certificate.
 */
export async function startFront({ port, controlPlaneUrl, gatewayUrl, caPem }: FrontOptions): Promise<Front> {
  const app = Fastify({ logger: false, bodyLimit: 1024 * 1024 })
  await app.register(fastifyHttpProxy, {
    upstream: gatewayUrl,
    prefix: DATA_PLANE_PATH,
    rewritePrefix: DATA_PLANE_PATH,
    websocket: true,
    wsServerOptions: { maxPayload: 2 * 1024 * 1024 },
  })
  await app.register(fastifyHttpProxy, {
    upstream: controlPlaneUrl,
    undici: new Agent({ connect: (options, callback) => buildConnector({ ca: caPem() })(options, callback) }),
    // An event stream has no end.
    replyOptions: { timeout: 0 } as never,
  })
  // Both loopback addresses: `localhost` is either, as the browser likes.
  await app.listen({ host: 'localhost', port })
  return { close: () => app.close() }
}
