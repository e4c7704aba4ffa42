import { SSLApp, type TemplatedApp, type WebSocket } from 'uWebSockets.js'
import { CLOSE_REASONS, type CloseReason, DATA_PLANE_PATH, MAX_MESSAGE_BYTES } from '@rap/data-plane-protocol'
import { type ConnectionLimits, type Logger, TLS_1_2_CIPHERS } from '@rap/service-kit'
import { LIMITS } from '@rap/session-policy'
import { bindByJson } from './bind-json.ts'
import { bindByRdCleanPath } from './bind-rdcleanpath.ts'
import { Connection, type ConnectionContext, type SocketData } from './connection.ts'
import { ListeningApps } from './listening-apps.ts'

/** A client that answers no ping for this long is gone, in seconds. */
const IDLE_TIMEOUT_SECONDS = 60
/**
 * Bytes that uWebSockets.js may hold for one client before it cuts it off. The target is paused long before
 * (CLIENT_HIGH_WATER_BYTES); this bounds what was already on its way: the longest clipboard text that a policy allows, which comes in
 * one piece, in base64.
 */
const MAX_BACKPRESSURE_BYTES = 1024 * 1024 + Math.ceil(LIMITS.clipboard_bytes.max * 1.4)

export interface DataPlaneOptions extends Omit<ConnectionContext, 'bindBy'> {
  readonly host: string
  readonly port: number
  readonly certFile: string
  readonly keyFile: string
  /** Default: that of the applications. */
  readonly lingerMs?: number | undefined
  readonly limits: ConnectionLimits
  readonly logger: Logger
}

/** The worker's public listener. */
export class DataPlane {
  readonly #options: DataPlaneOptions
  readonly #context: ConnectionContext
  readonly #apps: ListeningApps
  readonly #connections = new Set<Connection>()

  constructor(options: DataPlaneOptions) {
    this.#options = options
    this.#context = {
      ...options,
      bindBy: (connection, first, isBinary) =>
        isBinary ? bindByRdCleanPath(connection, first) : bindByJson(connection, first),
    }
    this.#apps = new ListeningApps({ ...options, build: counted => this.#build(counted) })
  }

  /** An application with the certificate as its files are now. */
  #build(counted: { opened(): void; closed(): void }): TemplatedApp {
    const { certFile, keyFile } = this.#options
    return SSLApp({
      cert_file_name: certFile,
      key_file_name: keyFile,
      // Its own list has CBC suites too; TLS 1.2 is the oldest version that it speaks.
      ssl_ciphers: TLS_1_2_CIPHERS,
      // An idle desktop then holds no TLS buffers: SSL_MODE_RELEASE_BUFFERS.
      ssl_prefer_low_memory_usage: true,
    })
      .ws<SocketData>(DATA_PLANE_PATH, {
        maxPayloadLength: MAX_MESSAGE_BYTES,
        maxBackpressure: MAX_BACKPRESSURE_BYTES,
        closeOnBackpressureLimit: true,
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        sendPingsAutomatically: true,
        upgrade: (response, request, socketContext) => {
          const query = request.getQuery()
          // A token in a URL would end up in logs: nothing is taken from there.
          if (query !== undefined && query !== '') {
            response.writeStatus('400 Bad Request').end()
            return
          }
          response.upgrade<SocketData>(
            { connection: undefined },
            request.getHeader('sec-websocket-key'),
            // No subprotocol and no extension: the first message decides.
            '',
            '',
            socketContext,
          )
        },
        open: ws => {
          counted.opened()
          this.#open(ws)
        },
        message: (ws, message, isBinary) => ws.getUserData().connection?.onMessage(message, isBinary),
        drain: ws => ws.getUserData().connection?.onDrain(),
        close: ws => {
          counted.closed()
          const { connection } = ws.getUserData()
          if (connection === undefined) return
          this.#connections.delete(connection)
          connection.onClose()
        },
      })
      .any('/*', response => {
        response.writeStatus('404 Not Found').writeHeader('cache-control', 'no-store').end()
      })
  }

  get connections(): number {
    return this.#connections.size
  }

  /** How many certificates connections may have begun with. */
  get certificates(): number {
    return this.#apps.size
  }

  /** Listens, and answers the port. */
  listen(port = this.#options.port): Promise<number> {
    return this.#apps.listen(port)
  }

  /** Takes the certificate anew from its files, for connections from now on; those that are there go on. */
  reload(): Promise<void> {
    return this.#apps.renew()
  }

  /** Takes no further connection; those that are there go on. */
  stopListening(): void {
    this.#apps.stopListening()
  }

  /** Tells every connection why it ends; none of them is cut off before it has heard. */
  closeConnections(reason: CloseReason): void {
    for (const connection of this.#connections) connection.close(reason)
  }

  /** Tells every connection that the worker goes away. */
  closeAll(): void {
    this.closeConnections('ERR_WORKER_DRAINING')
    this.#apps.closeAll()
  }

  #open(ws: WebSocket<SocketData>): void {
    const address = Buffer.from(ws.getRemoteAddressAsText()).toString()
    const admission = this.#options.limits.admit(address)
    if (admission === undefined) {
      ws.end(CLOSE_REASONS.ERR_WORKER_BUSY.code, 'ERR_WORKER_BUSY')
      return
    }
    const connection = new Connection(ws, admission, this.#context)
    ws.getUserData().connection = connection
    this.#connections.add(connection)
  }
}
