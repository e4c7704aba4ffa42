import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { connect, createSecureContext, TLSSocket } from 'node:tls'
import { createAuthority, issueCertificate } from '@rap/pki'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { Landing } from '../../src/relays/landing.ts'
import { READS_LAND_IN_PLACE, readTarget } from '../../src/relays/target-reader.ts'
import type { Teardown } from '../peer.ts'

const now = new Date()
const authority = await createAuthority({ name: 'Test CA', days: 1, now })
const issued = await issueCertificate({
  authority,
  commonName: 'target',
  dnsNames: ['target'],
  usages: ['server'],
  now,
})
const secureContext = createSecureContext({ cert: issued.certificatePem, key: issued.keyPem })

/** A TLS connection over a socket that has spoken in the clear before, as the connection to an RDP server is. */
async function connection(t: Teardown): Promise<{ near: TLSSocket; far: TLSSocket }> {
  const server = createServer(socket => {
    socket.once('data', () => {
      socket.write('upgrade')
      far.push(new TLSSocket(socket, { isServer: true, secureContext }))
    })
  })
  const far: TLSSocket[] = []
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const plain: Socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1')
  plain.write('hello')
  await once(plain, 'readable')
  plain.read()
  const near = connect({ socket: plain, ca: authority.certificatePem, servername: 'target' })
  await once(near, 'secureConnect')
  const [other] = far
  if (other === undefined) throw new Error('the server has no connection')
  for (const socket of [near, other]) {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
  }
  return { near, far: other }
}

t.test('on the Node that this repository pins, reads land in a buffer of ours', async t => {
  t.equal(READS_LAND_IN_PLACE, true)
})

t.test('what is read lands in the zone, record by record, and is handed on as a view', async t => {
  const { near, far } = await connection(t)
  const { zone } = new Landing()
  const sizes: number[] = []
  let inPlace = true
  readTarget(near, zone, bytes => {
    sizes.push(bytes.length)
    inPlace &&= bytes.buffer === zone.buffer && bytes.byteOffset === zone.byteOffset
  })
  far.write(Buffer.alloc(100_000))
  await waitFor(() => sizes.reduce((sum, size) => sum + size, 0) === 100_000, { what: 'all bytes' })
  t.ok(inPlace)
  t.ok(sizes.includes(zone.length))
})

t.test('what the socket had buffered before comes first, and nothing is lost or out of order', async t => {
  const { near, far } = await connection(t)
  const counting = (from: number, size: number): Buffer => {
    const bytes = Buffer.alloc(size)
    for (let index = 0; index < size; index++) bytes[index] = (from + index) % 251
    return bytes
  }
  near.once('readable', () => {})
  far.write(counting(0, 20_000))
  await once(near, 'readable')
  t.ok(near.readableLength > 0)
  const chunks: Buffer[] = []
  readTarget(near, new Landing().zone, bytes => chunks.push(Buffer.from(bytes)))
  far.write(counting(20_000, 80_000))
  await waitFor(() => Buffer.concat(chunks).length === 100_000, { what: 'all bytes' })
  t.ok(Buffer.concat(chunks).equals(counting(0, 100_000)))
})

t.test('sockets that share a zone do not see each other', async t => {
  const { zone } = new Landing()
  const pairs = await Promise.all([connection(t), connection(t), connection(t)])
  const seen = pairs.map(({ near }, index) => {
    const state = { bytes: 0, foreign: 0 }
    readTarget(near, zone, bytes => {
      state.bytes += bytes.length
      for (const byte of bytes) if (byte !== index + 1) state.foreign++
    })
    return state
  })
  for (let round = 0; round < 20; round++) {
    for (const [index, { far }] of pairs.entries()) far.write(Buffer.alloc(50_000, index + 1))
  }
  await waitFor(() => seen.every(({ bytes }) => bytes === 1_000_000), { what: 'all bytes' })
  t.same(
    seen.map(({ foreign }) => foreign),
    [0, 0, 0],
  )
})

t.test('a paused target is not read, and goes on where it stopped', async t => {
  const { near, far } = await connection(t)
  let bytes = 0
  readTarget(near, new Landing().zone, chunk => {
    bytes += chunk.length
    near.pause()
  })
  far.write(Buffer.alloc(64 * 1024 * 1024))
  await waitFor(() => bytes > 0, { what: 'the first read' })
  let before = -1
  await waitFor(
    () => {
      const isStill = before === bytes
      before = bytes
      return isStill
    },
    { what: 'the pause', intervalMs: 50 },
  )
  t.ok(bytes <= 1024 * 1024, `${bytes} bytes were read before the pause held`)
  while (bytes < 2 * 1024 * 1024) {
    const at = bytes
    near.resume()
    await waitFor(() => bytes > at, { what: 'more' })
  }
  t.ok(bytes > before)
})

t.test('the end of a target is told, also when nothing was sent', async t => {
  const { near, far } = await connection(t)
  const ended = once(near, 'end')
  readTarget(near, new Landing().zone, () => {})
  far.end()
  await ended
  t.pass('end')
})
