import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below Linux's default ephemeral range (32768 and up), so that an outgoing connection cannot take the port
// between this look and the moment the real server listens.
const FIRST_PORT = 20_000
const BLOCKS = 300
const PORTS_PER_BLOCK = 40

const mine: number[] = []
let claiming: Promise<void> | undefined

/**
 * A TCP port on which nobody listens, given to nobody else on this machine while this process lives: also not while the
 * server that it is for has not started yet, or starts again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = mine.shift()
    if (port !== undefined && (await isFree(port))) return port
    if (port !== undefined) continue
    claiming ??= claimBlock().finally(() => {
      claiming = undefined
    })
    await claiming
  }
}

/** Takes a block of ports. The process that listens on the first one has the others; the kernel takes them back with it. */
async function claimBlock(): Promise<void> {
  for (;;) {
    const first = FIRST_PORT + randomInt(BLOCKS) * PORTS_PER_BLOCK
    if (!(await holds(first))) continue
    for (let port = first + 1; port < first + PORTS_PER_BLOCK; port++) mine.push(port)
    return
  }
}

function holds(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer(socket => socket.destroy())
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => {
      server.unref()
      resolve(true)
    })
  })
}

/** Tells whether a server could listen on this port now, on every address of the machine. */
export function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}
