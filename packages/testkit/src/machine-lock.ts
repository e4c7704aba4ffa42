import { createServer } from 'node:net'
import { waitFor } from './wait-for.ts'

/**
 * Waits for a lock that one process of this machine can hold, and returns what releases it.
 *
 * The lock is a listening socket in Linux's abstract namespace, so the kernel releases it when its holder dies.
 */
export async function acquireMachineLock(name: string, timeoutMs: number): Promise<() => void> {
  const server = await waitFor(() => tryLock(name), { what: `the lock ${name}`, timeoutMs, intervalMs: 200 })
  return () => {
    server.close()
  }
}

function tryLock(name: string): Promise<ReturnType<typeof createServer> | undefined> {
  return new Promise(resolve => {
    const server = createServer(socket => socket.destroy())
    server.once('error', () => resolve(undefined))
    server.listen(`\0rap-testkit-${name}`, () => {
      server.unref()
      resolve(server)
    })
  })
}
