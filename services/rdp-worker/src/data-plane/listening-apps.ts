import { type TemplatedApp, type us_listen_socket, us_listen_socket_close, us_socket_local_port } from 'uWebSockets.js'

/**
 * How long an application stays after its listener has closed and its last connection has ended, in milliseconds: a client
 * that was accepted just before may still shake hands. uWebSockets.js gives it 10 seconds.
 */
const LINGER_MS = 60_000

/** One application of uWebSockets.js: its certificate is fixed, so that each certificate has one of its own. */
class ListeningApp {
  readonly app: TemplatedApp
  connections = 0
  #listener: us_listen_socket | undefined
  #closedAt: number | undefined

  constructor(app: TemplatedApp, listener: us_listen_socket) {
    this.app = app
    this.#listener = listener
  }

  get port(): number | undefined {
    return this.#listener === undefined ? undefined : us_socket_local_port(this.#listener)
  }

  closeListener(): void {
    if (this.#listener === undefined) return
    us_listen_socket_close(this.#listener)
    this.#listener = undefined
    this.#closedAt = performance.now()
  }

  /** Whether nobody is there any more, and nobody comes. */
  isOver(lingerMs: number): boolean {
    return this.#closedAt !== undefined && this.connections === 0 && performance.now() - this.#closedAt >= lingerMs
  }
}

export interface ListeningAppsOptions {
  readonly host: string
  /** An application with the certificate as its files are now. It calls `opened` and `closed` for its connections. */
  readonly build: (connections: { opened(): void; closed(): void }) => TemplatedApp
  readonly lingerMs?: number | undefined
}

/** The applications behind one port: the newest listens, older ones keep the connections that began with older certificates. */
export class ListeningApps {
  readonly #options: ListeningAppsOptions
  readonly #apps: ListeningApp[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(options: ListeningAppsOptions) {
    this.#options = options
  }

  /** How many certificates connections may have begun with. */
  get size(): number {
    return this.#apps.length
  }

  /** Listens with the certificate of now, and answers the port. Rejects where that is not possible. */
  async listen(port: number): Promise<number> {
    const { host, build } = this.#options
    let listening: ListeningApp | undefined
    const count = (change: number) => {
      if (listening !== undefined) listening.connections += change
      // Not now: the connection that ends is still in the hands of its application.
      if (change < 0) setImmediate(() => this.#release())
    }
    const app = build({ opened: () => count(1), closed: () => count(-1) })
    const listener = await new Promise<us_listen_socket>((resolve, reject) => {
      app.listen(host, port, socket => {
        if (socket) resolve(socket)
        else reject(new Error(`cannot listen on ${host}:${port}`))
      })
    })
    listening = new ListeningApp(app, listener)
    this.#apps.push(listening)
    return us_socket_local_port(listener)
  }

  /**
   * Takes the certificate of now for connections from now on; those that are there go on. For a moment two listeners share
   * the port (SO_REUSEPORT), so that nobody is refused. Connections that the kernel has queued for the old one and nobody has
   * accepted when it closes are reset, unless net.ipv4.tcp_migrate_req lets the new one have them.
   */
  async renew(): Promise<void> {
    const old = this.#apps.at(-1)
    if (old?.port === undefined) return
    await this.listen(old.port)
    // The queue of the old listener is emptied first.
    for (let turn = 0; turn < 2; turn++) await new Promise(resolve => setImmediate(resolve))
    old.closeListener()
    this.#release()
  }

  stopListening(): void {
    for (const each of this.#apps) each.closeListener()
  }

  /** Ends every connection at once. */
  closeAll(): void {
    clearTimeout(this.#timer)
    for (const { app } of this.#apps.splice(0)) app.close()
  }

  /** Lets go of applications that are over, now and once their time has come. */
  #release(): void {
    const { lingerMs = LINGER_MS } = this.#options
    const older = this.#apps.slice(0, -1)
    for (const each of older.filter(app => app.isOver(lingerMs))) {
      this.#apps.splice(this.#apps.indexOf(each), 1)
      each.app.close()
    }
    clearTimeout(this.#timer)
    const isEmptySoon = this.#apps.slice(0, -1).some(({ connections }) => connections === 0)
    if (isEmptySoon) this.#timer = setTimeout(() => this.#release(), lingerMs).unref()
  }
}
