import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { RapServer } from './server.ts'

/** A connection that showed no client certificate that this listener believes, and so reached no route. */
export interface RefusedHandshake {
  /** OpenSSL's or Node's code, such as CERT_HAS_EXPIRED. */
  readonly reason: string
  readonly clientAddress: string | undefined
}

const NO_CERTIFICATE = 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'

/**
 * Calls `report` for every handshake that a mutual-TLS listener refuses for its client certificate. Connections that speak
 * no TLS, and probes that leave again, are not reported: they have shown nothing, not even an attempt.
 */
export function onRefusedHandshake(app: RapServer, report: (refused: RefusedHandshake) => void): void {
  // An address that was read once is remembered by its socket after it is closed.
  app.server.on('connection', (socket: Socket) => void socket.remoteAddress)
  app.server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    // Node ends the connection after the handshake, and says why on the socket; the error itself is a reset.
    const authorizationError = socket.authorizationError as unknown as string | null
    const reason = authorizationError ?? (error.code === NO_CERTIFICATE ? NO_CERTIFICATE : undefined)
    if (reason !== undefined) report({ reason: String(reason), clientAddress: addressOf(socket) })
  })
}

/** The TLS socket has forgotten its address by then; the TCP socket below it has no public name. */
function addressOf(socket: TLSSocket & { readonly _parent?: Socket | null }): string | undefined {
  return socket.remoteAddress ?? socket._parent?.remoteAddress
}
