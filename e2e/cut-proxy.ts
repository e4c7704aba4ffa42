import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A network on the way that can be cut. */
export interface CutProxy {
  readonly port: number
  /** Tears the newest connection, or all of them. */
  cut(which: 'newest' | 'all'): void
  close(): Promise<void>
}

/** Listens on loopback and passes bytes to the port that `target` names then. */
export async function startCutProxy(target: () => number): Promise<CutProxy> {
  const open: Socket[] = []
  const server = createServer({ noDelay: true }, socket => {
    const other = connect({ host: '127.0.0.1', port: target(), noDelay: true })
    open.push(socket)
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      from.on('error', () => {})
      from.once('close', () => to.destroy())
      from.pipe(to)
    }
    socket.once('close', () => open.splice(open.indexOf(socket), 1))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cut = (which: 'newest' | 'all') => {
    for (const socket of which === 'all' ? [...open] : open.slice(-1)) socket.resetAndDestroy()
  }
  return {
    port,
    cut,
    async close() {
      cut('all')
      server.close()
      await once(server, 'close')
    },
  }
}
