import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { encodeRdCleanPathRequest } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { bindWith, bound, certificate, connect, startGateway, type TestGateway } from './helper.ts'

t.test(
  'the first message reaches the worker unchanged, and so does everything after it, in both directions',
  async t => {
    const gateway = await startGateway(t)
    const worker = await gateway.worker()
    const token = await gateway.token(worker.id)
    const client = await gateway.connect()
    const bind = bindWith(token).replace('{', '{ \n')
    const next = worker.next()
    client.socket.send(bind)
    const workerEnd = await next
    await waitFor(() => worker.received.length === 1, { what: 'bind at the worker' })
    t.equal(worker.received[0]?.text, bind, 'to the letter: nothing is parsed and written again')

    const bytes = randomBytes(70_000)
    client.socket.send(bytes)
    client.socket.send('{"type":"close"}')
    client.socket.send(Buffer.alloc(0))
    await waitFor(() => worker.received.length === 4, { what: 'messages at the worker' })
    t.same(worker.received.slice(1), [{ bytes }, { text: '{"type":"close"}' }, { bytes: Buffer.alloc(0) }])

    workerEnd.send('{"type":"bound"}')
    workerEnd.send(bytes)
    await waitFor(() => client.received.length === 2, { what: 'messages at the client' })
    t.same(client.received, [{ text: '{"type":"bound"}' }, { bytes }])
  },
)

t.test('an RDCleanPath request is carried like a JSON bind', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const request = Buffer.from(
    encodeRdCleanPathRequest({
      destination: randomUUID(),
      proxyAuth: `${await gateway.token(worker.id)}~a.b.c`,
      x224ConnectionPdu: Buffer.from('0300001300e00000000000010008000b000000'.slice(0, 38), 'hex'),
    }),
  )
  const client = await gateway.connect()
  client.socket.send(request)
  await waitFor(() => worker.received.length === 1, { what: 'request at the worker' })
  t.same(worker.received[0]?.bytes, request)
})

t.test('messages that come right behind the bind are not lost', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const client = await gateway.connect()
  const token = await gateway.token(worker.id)
  client.socket.send(bindWith(token))
  for (let number = 0; number < 50; number++) client.socket.send(Buffer.from([number]))
  await waitFor(() => worker.received.length === 51, { what: 'all messages' })
  t.same(
    worker.received.slice(1).map(({ bytes }) => bytes?.[0]),
    Array.from({ length: 50 }, (_, number) => number),
  )
})

t.test('a close passes through with its code and its reason', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  for (const [code, reason] of [
    [4002, 'ERR_SESSION_TAKEN_OVER'],
    [1000, ''],
    [1001, 'going away'],
  ] as const) {
    const { client, workerEnd } = await bound(gateway, worker)
    workerEnd.send('{"type":"closing"}')
    workerEnd.close(code, reason)
    t.same(await client.closed, { code, reason })
    t.same(client.received, [{ text: '{"type":"closing"}' }], 'what came before the close came through')
  }
  const { client, workerEnd } = await bound(gateway, worker)
  const ended = new Promise(resolve => workerEnd.once('close', (code, reason) => resolve([code, reason.toString()])))
  client.socket.close(3007, 'by the client')
  t.same(await ended, [3007, 'by the client'])
})

t.test('a client that vanishes is seen by the worker as lost, not as an orderly close', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client, workerEnd } = await bound(gateway, worker)
  const code = new Promise(resolve => workerEnd.once('close', resolve))
  client.socket.terminate()
  t.equal(await code, 1006)
})

t.test('a worker that vanishes is told to the client', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client, workerEnd } = await bound(gateway, worker)
  workerEnd.terminate()
  t.same(await client.closed, { code: 4502, reason: 'ERR_WORKER_UNREACHABLE' })
  t.match(JSON.parse(client.received.at(-1)?.text ?? '{}'), { type: 'closing', reason: 'ERR_WORKER_UNREACHABLE' })
})

t.test('a client that does not read holds the worker back, and gets every byte once it reads', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client, workerEnd } = await bound(gateway, worker)
  client.socket.pause()
  const chunk = randomBytes(256 * 1024)
  const chunks = 400
  const sentHash = createHash('sha256')
  for (let number = 0; number < chunks; number++) {
    workerEnd.send(chunk)
    sentHash.update(chunk)
  }
  const isPaused = async () => /worker_to_client.* [1-9]/.test(await metric(gateway, 'rap_gateway_pauses_total'))
  await waitFor(isPaused, { what: 'a pause' })
  const taken = await standsStill(() => relayedBytes(gateway, 'worker_to_client'))
  // What is on the way: the kernel's buffers towards the client, one high-water mark and what one read brings.
  t.ok(0 < taken && taken < 32 * 1024 * 1024, `${taken} bytes of ${chunks * chunk.length} were taken off the worker`)

  const gotHash = createHash('sha256')
  let size = 0
  client.socket.on('message', data => {
    gotHash.update(data as Buffer)
    size += (data as Buffer).length
  })
  client.socket.resume()
  await waitFor(() => size === chunks * chunk.length, { what: 'every byte' })
  t.equal(gotHash.digest('hex'), sentHash.digest('hex'))
})

t.test('a worker that does not read holds the client back', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client, workerEnd } = await bound(gateway, worker)
  workerEnd.pause()
  const chunk = randomBytes(256 * 1024)
  for (let number = 0; number < 200; number++) client.socket.send(chunk)
  const taken = await standsStill(() => relayedBytes(gateway, 'client_to_worker'))
  t.ok(taken < 32 * 1024 * 1024, `${taken} bytes of ${200 * chunk.length} were taken off the client`)
  workerEnd.resume()
  await waitFor(() => worker.received.filter(({ bytes }) => bytes !== undefined).length === 200, {
    what: 'every message',
  })
})

t.test('a message over 1 MiB ends the connection', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client } = await bound(gateway, worker)
  client.socket.send(Buffer.alloc(1024 * 1024 + 1))
  t.equal((await client.closed).code, 1009)
})

t.test('tokens and message bytes are in no log line', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const token = await gateway.token(worker.id)
  const client = await gateway.connect()
  const next = worker.next()
  client.socket.send(bindWith(token))
  const workerEnd = await next
  client.socket.send('canary-of-the-client')
  await waitFor(() => worker.received.length === 2, { what: 'canary at the worker' })
  workerEnd.close(1000)
  await client.closed
  const other = await gateway.connect()
  other.socket.send(`${bindWith(token)}canary-of-a-malformed-bind`)
  await other.closed
  await waitFor(() => gateway.lines.some(line => line.includes('data_plane_relay_ended')), { what: 'the last line' })
  const log = gateway.lines.join('')
  for (const part of [token, ...token.split('.'), 'canary']) t.notOk(log.includes(part))
  t.match(log, new RegExp(worker.id), 'while ids are there')
})

t.test('a drain tells every client, and no further one is let in', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client } = await bound(gateway, worker)
  const unbound = await gateway.connect()
  gateway.draining.abort()
  await gateway.gateway.drain()
  t.same(await client.closed, { code: 4004, reason: 'ERR_GATEWAY_DRAINING' })
  t.same(await unbound.closed, { code: 4004, reason: 'ERR_GATEWAY_DRAINING' })
  await t.rejects(gateway.connect(), /503/)
})

t.test('plain HTTP is served on loopback where it is asked for', async t => {
  const gateway = await startGateway(t, { env: { GATEWAY_PLAINTEXT: 'true' } })
  t.match(gateway.url, /^ws:/)
  const worker = await gateway.worker()
  const { client, workerEnd } = await bound(gateway, worker)
  workerEnd.close(4000, 'ERR_SESSION_DETACHED')
  t.same(await client.closed, { code: 4000, reason: 'ERR_SESSION_DETACHED' })
})

t.test('new certificates of the public listener are used without a restart', async t => {
  const gateway = await startGateway(t)
  const other = await certificate(gateway.ca, { dnsNames: ['renewed.example'] })
  gateway.gateway.app.setTls({ cert: other.certificatePem, key: other.keyPem })
  const options = { ca: gateway.ca.certificatePem, servername: 'renewed.example' }
  const client = await connect(t, gateway.url, options)
  client.socket.close()
  t.same(await client.closed, { code: 1005, reason: '' })
})

/** The value once it has not changed for a while. */
async function standsStill(read: () => Promise<number>): Promise<number> {
  let last = -1
  await waitFor(
    async () => {
      const now = await read()
      const isStill = now === last && now > 0
      last = now
      return isStill
    },
    { what: 'the flow to stand still', intervalMs: 500 },
  )
  return last
}

async function relayedBytes(gateway: TestGateway, direction: string): Promise<number> {
  const line = await metric(gateway, `rap_gateway_relayed_bytes_total{direction="${direction}"`)
  return Number(line.split(' ').at(-1) ?? 0)
}

async function metric(gateway: TestGateway, name: string): Promise<string> {
  const text = await gateway.metrics.registry.metrics()
  return text
    .split('\n')
    .filter(line => line.startsWith(name))
    .join('\n')
}
