import { createHash, randomBytes } from 'node:crypto'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import type { WebSocket } from 'ws'
import { createRapClient, type RdpConnection } from '../src/index.ts'
import {
  authority,
  binds,
  type DataPlaneEnd,
  dataPlane,
  direct,
  floodWith,
  RESOURCE_ID,
  scriptedControlPlane,
  serverCertificate,
  standsStill,
  type Teardown,
} from './helper.ts'

const ca = await authority()
const tls = await serverCertificate(ca)

async function connected(
  t: Teardown,
  transport: 'binary_v1' | 'json_v1',
  after?: (socket: WebSocket) => void,
): Promise<{ connection: RdpConnection; worker: DataPlaneEnd; workerEnd: WebSocket }> {
  const worker = await dataPlane(t, tls, binds(after))
  const { origin } = await scriptedControlPlane(t, { candidates: [direct(worker.url)] })
  const rap = createRapClient({ baseUrl: origin, trust: { caPem: ca.certificatePem } })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const session = await rap.sessions.start({ resourceId: RESOURCE_ID })
  const connection = await session.connect({ transport })
  const [workerEnd] = worker.connections
  if (workerEnd === undefined) throw new Error('no connection')
  return { connection, worker, workerEnd }
}

async function readAll(connection: RdpConnection): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of connection.stream.readable) chunks.push(chunk)
  return Buffer.concat(chunks)
}

t.test('RDP bytes pass both ways, in the form of the transport', async t => {
  for (const transport of ['binary_v1', 'json_v1'] as const) {
    const { connection, worker, workerEnd } = await connected(t, transport)
    t.equal(connection.holdsBack, true)
    const sent = randomBytes(600_000)
    const writer = connection.stream.writable.getWriter()
    await writer.write(sent.subarray(0, 10))
    await writer.write(sent.subarray(10))
    const arrived = () =>
      transport === 'binary_v1'
        ? Buffer.concat(worker.binaries)
        : Buffer.concat(worker.texts.slice(1).map(text => Buffer.from(JSON.parse(text).data, 'base64')))
    await waitFor(() => arrived().length === sent.length, { what: 'all bytes at the worker' })
    t.ok(arrived().equals(sent), transport)
    t.ok(worker.texts.every(text => text.length <= 1024 * 1024))

    const answer = randomBytes(100_000)
    for (const part of [answer.subarray(0, 1), answer.subarray(1)]) {
      workerEnd.send(transport === 'binary_v1' ? part : JSON.stringify({ type: 'rdp', data: part.toString('base64') }))
    }
    workerEnd.close(1000)
    t.ok((await readAll(connection)).equals(answer), transport)
  }
})

t.test('bytes that come right behind the answer to the bind are not lost', async t => {
  const { connection } = await connected(t, 'binary_v1', socket => {
    socket.send(Buffer.from('first'))
    socket.send(Buffer.from('second'))
    socket.close(1000)
  })
  t.equal((await readAll(connection)).toString(), 'firstsecond')
})

t.test('an end with a reason errors the stream with it, and resolves closed', async t => {
  const { connection, workerEnd } = await connected(t, 'binary_v1')
  workerEnd.send(
    '{"type":"closing","code":4002,"reason":"ERR_SESSION_TAKEN_OVER","detail":"Somebody took it over.","remedy":"Attach again."}',
  )
  workerEnd.close(4002, 'ERR_SESSION_TAKEN_OVER')
  await t.rejects(readAll(connection), { code: 'ERR_SESSION_TAKEN_OVER', closeCode: 4002, remedy: 'Attach again.' })
  t.same(await connection.closed, {
    code: 4002,
    reason: 'ERR_SESSION_TAKEN_OVER',
    detail: 'Somebody took it over.',
    remedy: 'Attach again.',
    orderly: false,
  })
})

t.test('a close frame alone is explained by its reason', async t => {
  const { connection, workerEnd } = await connected(t, 'binary_v1')
  workerEnd.close(4504, 'ERR_RELAY_TARGET_CLOSED')
  t.match(await connection.closed, { detail: 'The target closed the connection.', orderly: false })
})

t.test('a connection that is lost is no orderly end', async t => {
  const { connection, workerEnd } = await connected(t, 'binary_v1')
  workerEnd.terminate()
  await t.rejects(readAll(connection), { code: 'ERR_DATA_PLANE_CLOSED', closeCode: 1006 })
  t.match(await connection.closed, { code: 1006, orderly: false })
  const writer = connection.stream.writable.getWriter()
  writer.closed.catch(() => {})
  await t.rejects(writer.write(Buffer.from('x')), { code: 'ERR_DATA_PLANE_CLOSED' })
})

t.test('messages that do not belong to the transport end the connection', async t => {
  for (const [transport, message] of [
    ['binary_v1', '{"type":"rdp","data":"AAAA"}'],
    ['binary_v1', 'not json'],
    ['binary_v1', '{"type":"bound"}'],
    ['json_v1', Buffer.from('x')],
    ['json_v1', '{"type":"rdp","data":"A"}'],
    ['json_v1', '{"type":"other"}'],
  ] as const) {
    const { connection, workerEnd } = await connected(t, transport)
    workerEnd.send(message)
    await t.rejects(readAll(connection), { code: 'ERR_DATA_PLANE_PROTOCOL' }, `${transport} ${message}`)
    await waitFor(() => workerEnd.readyState === 3, { what: 'the end of the socket' })
  }
})

t.test('a message over the bound is not taken in', async t => {
  const { connection, workerEnd } = await connected(t, 'binary_v1')
  workerEnd.send(Buffer.alloc(1024 * 1024 + 1))
  await t.rejects(readAll(connection), { code: 'ERR_DATA_PLANE_CLOSED' })
})

t.test('a reader that does not read holds the worker back, and gets every byte once it reads', async t => {
  const { connection, workerEnd } = await connected(t, 'binary_v1')
  const chunk = randomBytes(128 * 1024)
  const chunks = 400
  const sentHash = createHash('sha256')
  for (let number = 0; number < chunks; number++) sentHash.update(chunk)
  const flood = { taken: 0 }
  floodWith(workerEnd, chunk, { total: chunks * chunk.length, flood })
  const taken = await standsStill(() => flood.taken)
  t.ok(taken < (chunks * chunk.length) / 2, `${taken} of ${chunks * chunk.length} bytes were taken`)
  const gotHash = createHash('sha256')
  let size = 0
  const reader = connection.stream.readable.getReader()
  while (size < chunks * chunk.length) {
    const { value } = await reader.read()
    gotHash.update(value ?? new Uint8Array())
    size += value?.length ?? 0
  }
  t.equal(gotHash.digest('hex'), sentHash.digest('hex'))
})

t.test('a writer waits for a worker that does not read', async t => {
  const { connection, worker, workerEnd } = await connected(t, 'binary_v1')
  workerEnd.pause()
  const writer = connection.stream.writable.getWriter()
  const chunk = randomBytes(256 * 1024)
  let written = 0
  const writing = (async () => {
    for (let number = 0; number < 200; number++) {
      await writer.write(chunk)
      written += 1
    }
  })()
  await standsStill(() => written)
  t.ok(written < 200, `${written} of 200 writes went through`)
  workerEnd.resume()
  await writing
  await waitFor(() => worker.binaries.length === 200, { what: 'all messages' })
})

t.test('a close is orderly, also while the worker floods and nobody reads', async t => {
  const { connection, workerEnd, worker } = await connected(t, 'binary_v1')
  for (let number = 0; number < 100; number++) workerEnd.send(randomBytes(128 * 1024))
  t.match(await connection.close(), { orderly: true })
  t.equal(await connection.close(), await connection.closed, 'a second close is the same')
  t.ok(worker.texts.includes('{"type":"close"}'))
})

t.test('a cancelled reader and a closed writer end the connection', async t => {
  const first = await connected(t, 'binary_v1')
  await first.connection.stream.readable.cancel()
  t.match(await first.connection.closed, { code: 1000 })
  const second = await connected(t, 'json_v1')
  await second.connection.stream.writable.close()
  t.match(await second.connection.closed, { code: 1000 })
})

t.test('a worker that does not answer the close does not keep the client', async t => {
  const { connection, workerEnd } = await connected(t, 'binary_v1')
  workerEnd.pause()
  t.match(await connection.close(), { code: 1006 })
})

t.test('an end that the client asked for is orderly, also in the words of the worker', async t => {
  for (const asked of [true, false]) {
    const { connection, workerEnd } = await connected(t, 'binary_v1')
    workerEnd.on('message', () => workerEnd.close(4000, 'ERR_SESSION_DETACHED'))
    if (asked) await connection.close()
    else workerEnd.close(4000, 'ERR_SESSION_DETACHED')
    t.match(await connection.closed, { orderly: asked })
  }
})
