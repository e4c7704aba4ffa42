import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below Linux's default ephemeral range (32768 and up), so that an outgoing connection cannot take the port
// between this look and the moment the real server listens.
const FIRST_PORT = 20_000
const LAST_PORT = 32_000

const handedOut = new Set<number>()

/** A TCP port on which nobody listens, never given twice by one process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT)
    if (handedOut.has(port) || !(await isFree(port))) continue
    handedOut.add(port)
    return port
  }
}

/** Tells whether a server could listen on this port now, on every address of the machine. */
export function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}
