import { request } from 'node:https'
import { connect } from 'node:tls'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { decodeRdCleanPathAnswer } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { WebSocket } from 'ws'
import { type Closed, type DataPlaneClient, jsonBind, rdCleanPathRequest } from '../client.ts'
import { startDesktop } from '../desktop.ts'
import { newPlace } from '../signing.ts'
import { TestWorker } from '../worker.ts'

const worker = await TestWorker.start(t, {
  env: { RDP_WORKER_MAX_UNBOUND_CONNECTIONS: '200', RDP_WORKER_MAX_UNBOUND_PER_ADDRESS: '150' },
})
const place = newPlace(worker.id)
const credentials = await worker.credentials(place)
const BIND = jsonBind(credentials)
const CLEAN_PATH = rdCleanPathRequest({ ...credentials, destination: place.resource_id })
/** The same with a token and a proof of a few characters: each cut costs a connection. */
const SHORT = { token: 'a.b.c', proof: 'd.e.f' }
const SHORT_BIND = jsonBind(SHORT)
const SHORT_CLEAN_PATH = rdCleanPathRequest({ ...SHORT, destination: place.resource_id })
const MALFORMED: Closed = { code: 4400, reason: 'ERR_BIND_MALFORMED' }

/** Sends one message on a connection of its own, and answers how that was closed. */
async function closedAfter(message: string | Uint8Array): Promise<{ client: DataPlaneClient; end: Closed }> {
  const client = await worker.connect()
  client.socket.send(message)
  return { client, end: await client.closed }
}

/** The same for many messages, some at a time. */
async function closedAfterEach(messages: readonly (string | Uint8Array)[]): Promise<Closed[]> {
  const ends: Closed[] = []
  let next = 0
  const run = async (): Promise<void> => {
    while (next < messages.length) {
      const at = next++
      ends[at] = (await closedAfter(messages[at] as string)).end
    }
  }
  await Promise.all(Array.from({ length: 24 }, run))
  return ends
}

async function get(path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  const { port } = new URL(worker.url)
  return await new Promise((resolve, reject) => {
    const call = request(
      { host: 'localhost', port, path, headers, ca: worker.authority.certificatePem, agent: false },
      answer => {
        const chunks: Buffer[] = []
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString() }))
      },
    )
    call.on('error', reject)
    call.end()
  })
}

async function upgradeStatus(url: string): Promise<number | undefined> {
  const socket = new WebSocket(url, { ca: worker.authority.certificatePem })
  socket.on('error', () => {})
  return await new Promise(resolve => {
    socket.once('unexpected-response', (_request, answer) => resolve(answer.statusCode))
    socket.once('open', () => resolve(101))
    socket.once('close', () => resolve(undefined))
  }).then(status => {
    socket.terminate()
    return status as number | undefined
  })
}

t.test('there is one path, and nothing is read from its query', async t => {
  const origin = new URL(worker.url).origin
  for (const path of [
    '/',
    '/data-plane',
    '/data-plane/v2',
    `${DATA_PLANE_PATH}/`,
    '/healthz',
    '/metrics',
    '/../etc/passwd',
  ]) {
    t.same(await get(path), { status: 404, body: '' }, path)
    t.equal(await upgradeStatus(`${origin}${path}`), 404, `upgrade of ${path}`)
  }
  for (const query of [`token=${credentials.token}`, 'x', '=']) {
    t.equal(await upgradeStatus(`${worker.url}?${query}`), 400, query.slice(0, 10))
  }
  t.equal((await get(DATA_PLANE_PATH)).status, 404, 'no upgrade')
  t.notMatch(worker.lines.join(''), credentials.token)
})

t.test('the listener shows the certificate of the worker, by TLS 1.2 at least', async t => {
  const { port } = new URL(worker.url)
  const handshake = (options: object): Promise<string> =>
    new Promise(resolve => {
      const socket = connect({ host: 'localhost', port: Number(port), ca: worker.authority.certificatePem, ...options })
      socket.once('secureConnect', () => {
        resolve(socket.getProtocol() ?? '')
        socket.destroy()
      })
      socket.once('error', error => resolve((error as NodeJS.ErrnoException).code ?? 'error'))
    })
  t.match(await handshake({}), /^TLSv1\.[23]$/)
  t.notMatch(await handshake({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }), /^TLSv1/)
})

t.test('a JSON bind that is cut at any byte is malformed', async t => {
  const prefixes = Array.from({ length: SHORT_BIND.length }, (_, size) => SHORT_BIND.slice(0, size))
  const ends = await closedAfterEach(prefixes)
  t.equal(ends.length, SHORT_BIND.length)
  t.same(
    ends.filter(({ code, reason }) => code !== MALFORMED.code || reason !== MALFORMED.reason),
    [],
  )
  t.equal(worker.controlPlane.binds.length, 0)
})

t.test('an RDCleanPath request that is cut at any byte is malformed', async t => {
  const prefixes = Array.from({ length: SHORT_CLEAN_PATH.length - 1 }, (_, size) =>
    SHORT_CLEAN_PATH.subarray(0, size + 1),
  )
  const ends = await closedAfterEach([new Uint8Array(), ...prefixes])
  t.equal(ends.length, SHORT_CLEAN_PATH.length)
  t.same(
    ends.filter(({ code, reason }) => code !== MALFORMED.code || reason !== MALFORMED.reason),
    [],
  )
})

t.test('a first message that is no bind is malformed, whatever it is', async t => {
  const bind = JSON.parse(BIND)
  const messages: readonly (readonly [string, string | Uint8Array])[] = [
    ['nothing', ''],
    ['null', 'null'],
    ['an array', '[]'],
    ['another type', '{"type":"rdp","data":"AAAA"}'],
    ['a prototype', '{"type":"__proto__"}'],
    ['another version', JSON.stringify({ ...bind, protocol_version: 2 })],
    ['another transport', JSON.stringify({ ...bind, runtime_transport: 'rdcleanpath_v1' })],
    ['no channel', JSON.stringify({ ...bind, channels: [] })],
    ['a channel twice', JSON.stringify({ ...bind, channels: ['display', 'display'] })],
    ['an empty token', JSON.stringify({ ...bind, token: '' })],
    ['a token that is too long', JSON.stringify({ ...bind, token: 'x'.repeat(8193) })],
    ['a proof that is too long', JSON.stringify({ ...bind, proof: 'x'.repeat(2049) })],
    ['more than there is', JSON.stringify({ ...bind, debug: true })],
    ['the bind as bytes', Buffer.from(BIND)],
    ['16 KiB and one byte', `${BIND}${' '.repeat(16 * 1024 + 1 - BIND.length)}`],
    ['a megabyte', '['.repeat(1024 * 1024)],
    ['TLS', Buffer.from('16030100c8010000c40303', 'hex')],
    ['RDP', Buffer.from('030000130ee000000000000100080003000000', 'hex')],
    ['DER of another kind', Buffer.from('3003020101', 'hex')],
    ['DER that lies about its length', Buffer.from('3082ffff', 'hex')],
    [
      'a request that asks for plain RDP',
      rdCleanPathRequest({ ...credentials, destination: 'x', requestedProtocols: 0 }),
    ],
    ['a request and more', Buffer.concat([CLEAN_PATH, Buffer.of(0)])],
    ['16 KiB of a request and one byte', Buffer.alloc(16 * 1024 + 1, 0x30)],
  ]
  for (const [name, message] of messages) t.same((await closedAfter(message)).end, MALFORMED, name)
  t.equal(worker.controlPlane.binds.length, 0)
})

t.test('a bind of exactly 16 KiB is looked at', async t => {
  const { end } = await closedAfter(`${BIND}${' '.repeat(16 * 1024 - BIND.length)}`)
  t.not(end.reason, 'ERR_BIND_MALFORMED')
})

t.test('a message over the bound of the WebSocket ends the connection', async t => {
  const client = await worker.connect()
  client.socket.send(Buffer.alloc(1024 * 1024 + 1))
  const { code } = await client.closed
  t.ok(code === 1009 || code === 1006, `${code}`)
})

t.test('a malformed request by RDCleanPath is told in its own words first', async t => {
  const { client } = await closedAfter(CLEAN_PATH.subarray(0, 200))
  t.match(decodeRdCleanPathAnswer(client.binaries[0] ?? Buffer.alloc(0)), { type: 'error', httpStatusCode: 400 })
})

t.test('who sends nothing in time is closed, and who talks while the bind is decided too', async t => {
  const short = await TestWorker.start(t, { times: { bindTimeoutMs: 150 } })
  const silent = await short.connect()
  t.same(await silent.closed, { code: 4408, reason: 'ERR_BIND_TIMEOUT' })
  t.same(silent.texts, [])

  // Nor can a control plane that does not answer hold a connection.
  short.controlPlane.intercept = ({ path }) => (path.endsWith('/binds') ? new Promise(() => {}) : undefined)
  const slow = await short.connect()
  slow.socket.send(jsonBind(await short.credentials(newPlace(short.id))))
  t.same(await slow.closed, { code: 4408, reason: 'ERR_BIND_TIMEOUT' })

  for (const second of ['{"type":"close"}', BIND, Buffer.alloc(10)]) {
    const talker = await worker.connect()
    talker.socket.send(jsonBind(await worker.credentials(newPlace(worker.id))))
    talker.socket.send(second)
    t.same(await talker.closed, MALFORMED)
  }
})

t.test('strangers are counted in all and by address, and a place is free again when one goes', async t => {
  const few = await TestWorker.start(t, {
    env: { RDP_WORKER_MAX_UNBOUND_CONNECTIONS: '3', RDP_WORKER_MAX_UNBOUND_PER_ADDRESS: '2' },
  })
  const busy: Closed = { code: 4429, reason: 'ERR_WORKER_BUSY' }
  const first = await few.connect()
  await few.connect()
  t.same(await (await few.connect()).closed, busy, 'of one address')
  const other = await few.connect({ localAddress: '127.0.0.2' })
  t.same(await (await few.connect({ localAddress: '127.0.0.3' })).closed, busy, 'of all')
  t.equal(first.end, undefined)
  t.equal(await few.metric('rap_worker_unbound_connections'), 3)
  first.socket.terminate()
  other.socket.close()
  await waitFor(async () => (await few.metric('rap_worker_unbound_connections')) === 1, { what: 'two free places' })
  const next = await few.connect()
  await few.connect({ localAddress: '127.0.0.2' })
  t.equal(next.end, undefined)
})

t.test('users behind one address are not strangers once they are bound', async t => {
  const desktop = await startDesktop(t)
  const few = await TestWorker.start(t, { env: { RDP_WORKER_MAX_UNBOUND_PER_ADDRESS: '1' } })
  for (let user = 0; user < 4; user++) {
    const { outcome } = await few.bind(await few.ready({ address: desktop.address }))
    t.equal(outcome, 'bound')
  }
  t.equal(await few.metric('rap_worker_connections'), 4)
  t.equal(await few.metric('rap_worker_unbound_connections'), 0)
})
