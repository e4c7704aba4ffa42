import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { relay } from '../src/relay.ts'

/** Both ends of a WebSocket over plain TCP. */
async function pair(t: { teardown(run: () => unknown): void }): Promise<{ near: WebSocket; far: WebSocket }> {
  const server = createServer()
  const sockets = new WebSocketServer({ server, autoPong: false })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const accepted = new Promise<WebSocket>(resolve => sockets.once('connection', resolve))
  const far = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, { autoPong: false })
  far.on('error', () => {})
  const near = await accepted
  near.on('error', () => {})
  t.teardown(() => {
    far.terminate()
    near.terminate()
    server.close()
  })
  if (far.readyState !== far.OPEN) await new Promise(resolve => far.once('open', resolve))
  return { near, far }
}

const observer = { onBytes: () => {}, onPause: () => {} }

t.test('an end from which nothing comes any more is given up, and the other one is told', async t => {
  const client = await pair(t)
  const worker = await pair(t)
  worker.far.on('ping', data => worker.far.pong(data))
  const code = new Promise(resolve => worker.far.once('close', resolve))
  const end = await relay(client.near, worker.near, {
    observer,
    onWorkerLost: () => {},
    pingIntervalMs: 20,
    deadAfterMs: 200,
  })
  t.same(end, { endedBy: 'dead_peer', code: 1006 })
  t.equal(await code, 1006)
})

t.test('an end that answers pings lives, and so does one that we hold back', async t => {
  const client = await pair(t)
  const worker = await pair(t)
  let pings = 0
  for (const { far } of [client, worker]) far.on('ping', data => far.pong(data))
  worker.far.on('ping', () => {
    pings += 1
  })
  const options = { observer, onWorkerLost: () => {}, pingIntervalMs: 20, deadAfterMs: 100 }
  const ended = relay(client.near, worker.near, options)
  // Fifteen pings take three times as long as silence may last.
  await waitFor(() => pings >= 15, { what: 'pings' })
  worker.near.pause()
  await waitFor(() => pings >= 30, { what: 'pings to an end that is held back' })
  t.equal(client.far.readyState, WebSocket.OPEN)
  t.equal(worker.far.readyState, WebSocket.OPEN)
  worker.near.resume()
  worker.far.close(4000, 'ERR_SESSION_DETACHED')
  t.same(await ended, { endedBy: 'worker', code: 4000 })
})

t.test('a process that stood still does not take its own silence for that of an end', async t => {
  const [client, worker] = [await pair(t), await pair(t)]
  for (const { far } of [client, worker]) far.on('ping', data => far.pong(data))
  const ended = relay(client.near, worker.near, {
    observer,
    onWorkerLost: () => {},
    pingIntervalMs: 20,
    deadAfterMs: 100,
  })
  for (let round = 0; round < 3; round++) {
    const until = performance.now() + 300
    while (performance.now() < until);
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  t.equal(client.far.readyState, WebSocket.OPEN)
  t.equal(worker.far.readyState, WebSocket.OPEN)
  worker.far.close(4000, 'ERR_SESSION_DETACHED')
  t.same(await ended, { endedBy: 'worker', code: 4000 })
})
