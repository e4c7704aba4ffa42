import { createHash, randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { connectInitial } from '../../../../packages/rdp/test/relay/harness.ts'
import { type DataPlaneClient, rdCleanPathRequest } from '../client.ts'
import { input, startDesktop, update } from '../desktop.ts'
import { TestWorker } from '../worker.ts'

const worker = await TestWorker.start(t)
const desktop = await startDesktop(t)

/** The TCP socket under a client: paused, the client reads nothing. */
function wireOf(client: DataPlaneClient): Socket {
  return (client.socket as unknown as { _socket: Socket })._socket
}

async function up(transport: 'json_v1' | 'binary_v1' | 'rdcleanpath_v1') {
  const at = desktop.sessions.length
  const place = await worker.ready({ address: desktop.address })
  let client: DataPlaneClient
  if (transport === 'rdcleanpath_v1') {
    client = await worker.connect()
    await client.bindRdCleanPath(
      rdCleanPathRequest({ ...(await worker.credentials(place)), destination: place.resource_id }),
    )
  } else client = (await worker.bind(place, { transport })).client
  await client.rdp?.toActive()
  return { client, place, session: await desktop.session(at) }
}

const digest = (chunks: readonly Uint8Array[]): string =>
  createHash('sha256').update(Buffer.concat(chunks)).digest('hex')

t.test('a client that stops reading pauses its target, and gets every byte once it reads again', async t => {
  for (const transport of ['binary_v1', 'json_v1'] as const) {
    const { client, session, place } = await up(transport)
    const bystander = await up('binary_v1')
    wireOf(client).pause()
    const screen = update(randomBytes(30_000))
    const sent: Uint8Array[] = []
    // Far more than the buffers of two connections hold.
    for (let bytes = 0; bytes < 48 * 1024 * 1024; bytes += screen.length) {
      sent.push(screen)
      session.send(screen)
    }
    await waitFor(async () => (await worker.metric('rap_worker_paused_targets')) === 1, { what: 'the pause' })
    const waiting = () => session.socket.writableLength
    let before = Number.NaN
    await waitFor(
      () => {
        const isStuck = waiting() === before
        before = waiting()
        return isStuck
      },
      { what: 'a target that is held back', intervalMs: 200 },
    )
    t.ok(waiting() > 16 * 1024 * 1024, `${transport}: ${waiting()} bytes wait at the target, not in the worker`)
    bystander.session.send(screen)
    await waitFor(() => bystander.client.rdp?.receivedBytes === screen.length, { what: 'somebody else' })
    wireOf(client).resume()
    await waitFor(() => client.rdp?.receivedBytes === sent.length * screen.length, {
      what: 'all bytes',
      timeoutMs: 60_000,
    })
    t.equal(digest(client.rdp?.chunks ?? []), digest(sent), `${transport}: unchanged, in order`)
    client.socket.close()
    const { stats } = await worker.controlPlane.reported(place.attachment_id, 'closed')
    t.ok((stats?.paused_count ?? 0) >= 1)
  }
})

t.test('a client that leaves while its target is paused leaves nothing behind', async t => {
  const { client, session, place } = await up('binary_v1')
  wireOf(client).pause()
  const screen = update(Buffer.alloc(30_000))
  for (let count = 0; count < 1000; count++) session.send(screen)
  await waitFor(async () => (await worker.metric('rap_worker_paused_targets')) === 1, { what: 'the pause' })
  client.socket.terminate()
  await worker.controlPlane.reported(place.attachment_id, 'closed')
  await waitFor(async () => (await worker.metric('rap_worker_paused_targets')) === 0, { what: 'the end of the pause' })
  t.ok(await waitFor(() => session.socket.destroyed, { what: 'the end of the target' }))
})

t.test('a client that floods a target which takes nothing is cut off', async t => {
  const { client, session, place } = await up('binary_v1')
  session.socket.pause()
  const keys = input(Buffer.alloc(30_000))
  const message = Buffer.concat(Array(20).fill(keys))
  let sent = 0
  await waitFor(
    () => {
      if (client.end !== undefined) return true
      client.sendRdp(message)
      sent += message.length
      return false
    },
    { what: 'the cut', intervalMs: 1 },
  )
  t.match(client.end, { code: 4429, reason: 'ERR_RELAY_MEMORY_LIMIT' })
  t.match(client.texts.at(-1), { type: 'closing', reason: 'ERR_RELAY_MEMORY_LIMIT' })
  const { stats, reason } = await worker.controlPlane.reported(place.attachment_id, 'closed')
  t.equal(reason, 'ERR_RELAY_MEMORY_LIMIT')
  t.ok((stats?.to_target_bytes ?? 0) < 32 * 1024 * 1024, `${stats?.to_target_bytes} of ${sent} bytes were taken`)
})

t.test('relays that are busy at the same moment never see a byte of one another', async t => {
  const transports = ['binary_v1', 'rdcleanpath_v1', 'json_v1', 'binary_v1', 'rdcleanpath_v1'] as const
  const relays: Awaited<ReturnType<typeof up>>[] = []
  for (const transport of transports) relays.push(await up(transport))
  // Sizes around every boundary that the way there has: a PDU, a TLS record, a message, the tail of one.
  const sizes = [1, 2, 30, 124, 125, 250, 256, 1000, 4096, 16_000, 16_350, 16_375, 16_379, 16_380, 16_384, 32_000]
  const sent = relays.map(() => [] as Uint8Array[])
  for (let round = 0; round < 12; round++) {
    for (const [index, { session }] of relays.entries()) {
      for (const size of sizes) {
        // Each relay has a byte of its own.
        const body = Buffer.alloc(Math.max(1, size - ((round * 7 + index) % 5)), 0x10 + index)
        const pdu = update(body)
        sent[index]?.push(pdu)
        const cut = (round * 31 + size) % pdu.length
        session.send(pdu.subarray(0, cut))
        session.send(pdu.subarray(cut))
      }
    }
    await new Promise(resolve => setImmediate(resolve))
  }
  for (const [index, { client }] of relays.entries()) {
    const wanted = sent[index] ?? []
    const total = wanted.reduce((sum, pdu) => sum + pdu.length, 0)
    await waitFor(() => client.rdp?.receivedBytes === total, { what: `all bytes of relay ${index}` })
    t.equal(digest(client.rdp?.chunks ?? []), digest(wanted), `relay ${index}, ${transports[index]}`)
  }
  const keys = relays.map((_, index) => input(Buffer.alloc(2000, 0x80 + index)))
  for (let round = 0; round < 10; round++) {
    for (const [index, { client }] of relays.entries()) client.sendRdp(keys[index] as Uint8Array)
  }
  for (const [index, { session }] of relays.entries()) {
    await waitFor(() => session.received.length === 10, { what: 'all input' })
    t.ok(
      session.received.every(pdu => Buffer.from(pdu).equals(keys[index] as Uint8Array)),
      `input of relay ${index}`,
    )
  }
})

t.test('RDP that is cut or bent after the bind ends that relay, and no other', async t => {
  const bystander = await up('binary_v1')
  const bent: readonly (readonly [string, 'client' | 'target', Uint8Array])[] = [
    ['no RDP', 'client', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a TPKT shorter than itself', 'client', Buffer.from('03000003', 'hex')],
    ['an X.224 request', 'client', Buffer.from('030000130ee000000000000100080003000000', 'hex')],
    ['MCS of another kind', 'client', Buffer.from('0300000802f080ff', 'hex')],
    ['a channel that was never joined', 'client', Buffer.from('0300000f02f08064000603f77001aa', 'hex')],
    ['a fast-path PDU shorter than its header', 'client', Buffer.from('0401', 'hex')],
    ['no RDP', 'target', Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
    ['a TPKT shorter than itself', 'target', Buffer.from('03000000', 'hex')],
    ['MCS of another kind', 'target', Buffer.from('0300000802f080ff', 'hex')],
    ['a fast-path PDU shorter than its header', 'target', Buffer.from('00800000', 'hex')],
  ]
  for (const [name, side, bytes] of bent) {
    const { client, session } = await up('binary_v1')
    if (side === 'client') client.sendRdp(bytes)
    else session.send(bytes)
    const reason = side === 'client' ? 'ERR_RELAY_CLIENT_PROTOCOL' : 'ERR_RELAY_TARGET_PROTOCOL'
    t.match(await client.closed, { reason }, `${side}: ${name}`)
    await waitFor(() => session.socket.destroyed, { what: 'the end of the target' })
  }
  const violations = worker.controlPlane.audited.filter(({ event }) => event === 'relay_protocol_violation')
  t.ok(violations.length > 0)
  t.ok(violations.every(({ details }) => typeof details?.wire_code === 'string'))
  bystander.session.send(update(Buffer.alloc(100)))
  await waitFor(() => (bystander.client.rdp?.receivedBytes ?? 0) > 0, { what: 'the desktop of somebody else' })
})

t.test('whatever noise either side makes, the worker lives', async t => {
  const bystander = await up('json_v1')
  for (let round = 0; round < 24; round++) {
    const { client, session } = await up(round % 2 === 0 ? 'binary_v1' : 'rdcleanpath_v1')
    const noise = randomBytes(1 + ((round * 97) % 3000))
    // Half of it begins like RDP.
    if (round % 4 < 2) noise.set([0x03, 0x00, noise.length >> 8, noise.length & 0xff].slice(0, noise.length))
    if (round % 3 === 0) session.send(noise)
    else client.sendRdp(noise)
    client.socket.close()
    await client.closed
  }
  bystander.session.send(update(Buffer.alloc(100)))
  await waitFor(() => (bystander.client.rdp?.receivedBytes ?? 0) > 0, { what: 'the desktop of somebody else' })
  t.equal(bystander.client.end, undefined)
})

t.test('a first RDP message that is cut at any byte waits, and bends nothing', async t => {
  const initial = connectInitial()
  for (let size = 1; size < initial.length; size += 29) {
    const at = desktop.sessions.length
    const place = await worker.ready({ address: desktop.address })
    const { client } = await worker.bind(place)
    client.sendRdp(initial.subarray(0, size))
    client.sendRdp(initial.subarray(size))
    const session = await desktop.session(at)
    await waitFor(() => session.pdus.length === 1, { what: 'the whole message' })
    client.socket.terminate()
  }
  t.pass()
})
