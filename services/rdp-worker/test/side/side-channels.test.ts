import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { encodeChunkHeader, MAX_CHUNK_BYTES, UPLOAD_WINDOW_BYTES } from '@rap/data-plane-protocol'
import { CHANNELS, type Channel, DEFAULT_LIMITS } from '@rap/session-policy'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import type { DataPlaneClient } from '../client.ts'
import { input, startDesktop } from '../desktop.ts'
import { type Ordered, TestWorker } from '../worker.ts'

const ALL = [...CHANNELS]
const SECOND_MS = 20

const worker = await TestWorker.start(t, { times: { pollMs: 50, secondMs: SECOND_MS } })
const desktop = await startDesktop(t)

/** A desktop that a client has up, with everything allowed. */
async function up(
  claims: Parameters<TestWorker['ready']>[1] = {},
  on = worker,
): Promise<{ place: Ordered; client: DataPlaneClient }> {
  const place = await on.ready({ address: desktop.address }, { allowed_channels: ALL, ...claims })
  on.controlPlane.policies.set(place.attachment_id, {
    allowed_channels: ALL,
    limits: claims.limits ?? DEFAULT_LIMITS,
  })
  const client = await bindTo(place, ['display', 'input'], { on })
  await client.rdp?.toActive()
  return { place, client }
}

async function bindTo(
  place: Ordered,
  channels: readonly Channel[],
  { transport = 'binary_v1', on = worker }: { transport?: 'binary_v1' | 'json_v1'; on?: TestWorker } = {},
): Promise<DataPlaneClient> {
  const credentials = await on.credentials(place, { claims: { allowed_channels: ALL } })
  const { client, outcome } = await on.bind(place, { ...credentials, channels, transport })
  if (outcome !== 'bound') throw new Error(`bind was refused with ${outcome.reason}`)
  return client
}

const say = (client: DataPlaneClient, message: object) => client.socket.send(JSON.stringify(message))

// biome-ignore lint/suspicious/noExplicitAny: messages of the protocol, as their tests read them.
async function heard(client: DataPlaneClient, what: Record<string, unknown>): Promise<any> {
  const fits = (message: Record<string, unknown>) =>
    Object.entries(what).every(([name, value]) => JSON.stringify(message[name]) === JSON.stringify(value))
  return await waitFor(() => client.texts.find(fits), { what: JSON.stringify(what), intervalMs: 5 })
}

function begin(client: DataPlaneClient, bytes: Uint8Array, name = 'report.txt'): string {
  const upload_id = randomUUID()
  say(client, { type: 'upload_begin', upload_id, name, size: bytes.length })
  return upload_id
}

function sendChunk(client: DataPlaneClient, id: string, offset: number, bytes: Uint8Array): void {
  client.socket.send(Buffer.concat([encodeChunkHeader(id, offset), bytes]))
}

/** The newest list's entry of an upload, in this state. */
function listed(client: DataPlaneClient, id: string, state: string): Record<string, unknown> | undefined {
  const list = client.texts.findLast(({ type }) => type === 'transfers')
  return list?.items.find((item: Record<string, unknown>) => item.upload_id === id && item.state === state)
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

t.test('a file goes up beside the desktop, in binary chunks and in JSON, and is in the list of transfers', async t => {
  const { place } = await up()
  for (const transport of ['binary_v1', 'json_v1'] as const) {
    const side = await bindTo(place, ['file_upload', 'events'], { transport })
    const bytes = randomBytes(300_000)
    const id = begin(side, bytes, `${transport}.bin`)
    t.equal((await heard(side, { type: 'upload_progress', upload_id: id })).offset, 0)
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      const piece = bytes.subarray(at, at + MAX_CHUNK_BYTES)
      if (transport === 'binary_v1') sendChunk(side, id, at, piece)
      else say(side, { type: 'upload_chunk', upload_id: id, offset: at, data: piece.toString('base64') })
    }
    await heard(side, { type: 'upload_progress', upload_id: id, offset: bytes.length })
    say(side, { type: 'upload_end', upload_id: id, sha256: sha256(bytes) })
    await heard(side, { type: 'upload_done', upload_id: id, name: `${transport}.bin` })
    const entry = await waitFor(() => listed(side, id, 'ready'), { what: 'the list', intervalMs: 5 })
    t.match(entry, { name: `${transport}.bin`, size: 300_000, offset: 300_000 })
    t.match(await worker.controlPlane.auditedEvent('upload_finished'), {
      attachment_id: place.attachment_id,
      outcome: 'ok',
      details: { size: 300_000 },
    })
  }
})

t.test('one connection may carry desktop and uploads together; chunks are JSON there', async t => {
  const place = await worker.ready({ address: desktop.address }, { allowed_channels: ALL })
  const client = await bindTo(place, ['display', 'input', 'file_upload', 'events'])
  await client.rdp?.toActive()
  const bytes = randomBytes(1000)
  const id = begin(client, bytes)
  await heard(client, { type: 'upload_progress', upload_id: id })
  say(client, { type: 'upload_chunk', upload_id: id, offset: 0, data: bytes.toString('base64') })
  say(client, { type: 'upload_end', upload_id: id, sha256: sha256(bytes) })
  await heard(client, { type: 'upload_done', upload_id: id })
  t.equal(client.end, undefined)
})

t.test('an upload goes on with a new connection, which takes the channels from the older one', async t => {
  const { place, client: main } = await up()
  const first = await bindTo(place, ['file_upload', 'events'])
  const bytes = randomBytes(400_000)
  const id = begin(first, bytes)
  await heard(first, { type: 'upload_progress', upload_id: id })
  sendChunk(first, id, 0, bytes.subarray(0, 200_000))
  await heard(first, { type: 'upload_progress', upload_id: id, offset: 200_000 })
  const second = await bindTo(place, ['file_upload', 'events'])
  t.match(await first.closed, { code: 4009, reason: 'ERR_SESSION_CHANNELS_BOUND_AGAIN' })
  say(second, { type: 'upload_begin', upload_id: id, name: 'report.txt', size: bytes.length })
  t.equal((await heard(second, { type: 'upload_progress', upload_id: id })).offset, 200_000)
  sendChunk(second, id, 200_000, bytes.subarray(200_000))
  say(second, { type: 'upload_end', upload_id: id, sha256: sha256(bytes) })
  await heard(second, { type: 'upload_done', upload_id: id })
  t.equal(main.end, undefined, 'the desktop does not notice')
})

t.test('a refused upload is told in words, and the connection goes on', async t => {
  const { place } = await up({ limits: { ...DEFAULT_LIMITS, upload_extensions: ['txt'], upload_file_bytes: 100 } })
  const side = await bindTo(place, ['file_upload'])
  for (const [name, size, code] of [
    ['virus.exe', 10, 'ERR_UPLOAD_EXTENSION'],
    ['big.txt', 101, 'ERR_UPLOAD_FILE_TOO_LARGE'],
    ['..', 10, 'ERR_UPLOAD_NAME'],
  ] as const) {
    const id = begin(side, new Uint8Array(size), name)
    const refused = await heard(side, { type: 'upload_refused', upload_id: id })
    t.match(refused, { code, detail: /\w/ })
  }
  const id = begin(side, Buffer.from('abc'), 'fine.txt')
  await heard(side, { type: 'upload_progress', upload_id: id })
  sendChunk(side, id, 0, Buffer.from('abc'))
  say(side, { type: 'upload_end', upload_id: id, sha256: sha256(Buffer.from('abd')) })
  t.match(await heard(side, { type: 'upload_refused', upload_id: id }), { code: 'ERR_UPLOAD_HASH_MISMATCH' })
  say(side, { type: 'upload_cancel', upload_id: randomUUID() })
  t.match(await heard(side, { type: 'upload_refused', code: 'ERR_UPLOAD_UNKNOWN' }), {})
  t.equal(side.end, undefined)
})

t.test('each refusal of an upload is in the audit once a session', async t => {
  const { place } = await up({ limits: { ...DEFAULT_LIMITS, upload_extensions: ['txt'] } })
  const side = await bindTo(place, ['file_upload'])
  for (let count = 0; count < 3; count++) {
    const id = begin(side, new Uint8Array(1), 'virus.exe')
    await heard(side, { type: 'upload_refused', upload_id: id })
  }
  const rows = () =>
    worker.controlPlane.audited.filter(
      ({ event, session_id }) => event === 'upload_refused' && session_id === place.session_id,
    )
  await waitFor(() => rows().length > 0, { what: 'the audit' })
  t.same(
    rows().map(({ code }) => code),
    ['ERR_UPLOAD_EXTENSION'],
  )
})

t.test('without the channel nothing goes up, also not over a connection that has other channels', async t => {
  const { place } = await up()
  const side = await bindTo(place, ['events'])
  const id = begin(side, new Uint8Array(1))
  t.match(await heard(side, { type: 'upload_refused', upload_id: id }), { code: 'ERR_UPLOAD_NOT_ALLOWED' })
  sendChunk(side, id, 0, new Uint8Array(1))
  say(side, { type: 'rdp', data: 'AAAA' })
  t.match(await side.closed, { reason: 'ERR_RELAY_MALFORMED_MESSAGE' }, 'and no RDP')
})

t.test('a client that has more under way than the window is cut off, and its neighbour is not', async t => {
  const { place, client: main } = await up()
  const side = await bindTo(place, ['file_upload'])
  const id = begin(side, new Uint8Array(100 * 1024 * 1024))
  await heard(side, { type: 'upload_progress', upload_id: id })
  const piece = new Uint8Array(MAX_CHUNK_BYTES)
  for (let at = 0; at < 4 * UPLOAD_WINDOW_BYTES; at += piece.length) sendChunk(side, id, at, piece)
  t.match(await side.closed, { reason: 'ERR_RELAY_MALFORMED_MESSAGE' })
  t.equal(main.end, undefined)
})

t.test('messages that are none end the side connection and nothing else', async t => {
  const { place, client: main } = await up()
  for (const bad of ['{}', '[', '{"type":"bind"}', new Uint8Array(10), new Uint8Array(MAX_CHUNK_BYTES + 25)]) {
    const side = await bindTo(place, ['file_upload', 'events'])
    side.socket.send(bad)
    t.match(await side.closed, { reason: 'ERR_RELAY_MALFORMED_MESSAGE' })
  }
  t.equal(main.end, undefined)
})

t.test('a narrower policy is told, and takes effect on the wire', async t => {
  const { place, client: main } = await up()
  const session = await desktop.session(desktop.sessions.length - 1)
  const side = await bindTo(place, ['file_upload'])
  const events = await bindTo(place, ['events'])
  await heard(events, { type: 'policy' })
  main.sendRdp(input(Buffer.from('before')))
  await waitFor(() => session.receivedBytes().includes('before'), { what: 'the input' })
  worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: ['display', 'events'] })
  await heard(events, { type: 'policy', allowed_channels: ['display', 'events'] })
  t.match(await side.closed, { code: 4008, reason: 'ERR_SESSION_POLICY' })
  main.sendRdp(input(Buffer.from('after')))
  session.send(input(Buffer.from('picture')))
  await waitFor(() => Buffer.concat(main.rdp?.chunks ?? []).includes('picture'), { what: 'the picture' })
  t.notOk(session.receivedBytes().includes('after'))
  worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: ['events'] })
  t.match(await main.closed, { reason: 'ERR_SESSION_POLICY' })
})

t.test('a policy that gets wider gives a live attachment nothing', async t => {
  const { place, client: main } = await up()
  const session = await desktop.session(desktop.sessions.length - 1)
  const events = await bindTo(place, ['events'])
  worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: ['display', 'events'] })
  await heard(events, { type: 'policy', allowed_channels: ['display', 'events'] })
  const limits = { ...DEFAULT_LIMITS, clipboard_bytes: 10 }
  worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: ALL, limits })
  await heard(events, { type: 'policy', limits })
  main.sendRdp(input(Buffer.from('after')))
  session.send(input(Buffer.from('picture')))
  await waitFor(() => Buffer.concat(main.rdp?.chunks ?? []).includes('picture'), { what: 'the picture' })
  t.notOk(session.receivedBytes().includes('after'))
})

t.test('the end of the desktop ends the connections beside it, with the same reason', async t => {
  const { place } = await up()
  const side = await bindTo(place, ['file_upload', 'events'])
  worker.controlPlane.close(place.attachment_id, 'superseded', 'ERR_SESSION_TAKEN_OVER')
  t.match(await side.closed, { reason: 'ERR_SESSION_TAKEN_OVER' })
})

t.test('a connection beside the desktop comes and goes, and the desktop stays', async t => {
  const { place, client: main } = await up()
  for (let count = 0; count < 3; count++) {
    const side = await bindTo(place, ['file_upload', 'events'])
    side.socket.terminate()
    await side.closed
  }
  say(await bindTo(place, ['events']), { type: 'close' })
  t.equal(main.end, undefined)
})

t.test('uploads outlive an attachment, and are gone with the session', async t => {
  const { place, client: main } = await up()
  const side = await bindTo(place, ['file_upload'])
  const id = begin(side, Buffer.from('abc'), 'kept.txt')
  await heard(side, { type: 'upload_progress', upload_id: id })
  sendChunk(side, id, 0, Buffer.from('abc'))
  say(side, { type: 'upload_end', upload_id: id, sha256: sha256(Buffer.from('abc')) })
  await heard(side, { type: 'upload_done', upload_id: id })
  main.socket.close()
  await side.closed
  await worker.controlPlane.reported(place.attachment_id, 'closed')
  const again = await up({ session_id: place.session_id })
  const looking = await bindTo(again.place, ['file_upload'])
  t.match((await heard(looking, { type: 'transfers' })).items, [{ upload_id: id, name: 'kept.txt', state: 'ready' }])
  const stored = await worker.metric('rap_worker_upload_stored_bytes')
  worker.controlPlane.overSessions.add(place.session_id)
  worker.controlPlane.close(again.place.attachment_id, 'closed', 'ERR_SESSION_TERMINATED')
  t.equal((await looking.closed).reason, 'ERR_SESSION_TERMINATED')
  await waitFor(async () => (await worker.metric('rap_worker_upload_stored_bytes')) === stored - 3, {
    what: 'the end of the file',
  })
})

t.test('who does nothing is warned and disconnected; who does something is not', async t => {
  const limits = { ...DEFAULT_LIMITS, idle_seconds: 200 }
  const [busy, idle] = [await up(), await up()]
  const events = await bindTo(idle.place, ['events'])
  const act = ({ client }: typeof busy) => client.sendRdp(input(Buffer.from('x')))
  const timer = setInterval(() => act(busy), SECOND_MS)
  t.teardown(() => clearInterval(timer))
  // Only now, when everybody is there, and from here on.
  act(idle)
  for (const { place } of [busy, idle]) {
    worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: ALL, limits })
  }
  const { limit, seconds_left } = await heard(events, { type: 'limit_near' })
  t.equal(limit, 'idle_seconds')
  t.ok(0 < seconds_left && seconds_left <= 60, `${seconds_left}`)
  t.match(await idle.client.closed, { code: 4006, reason: 'ERR_SESSION_IDLE_LIMIT' })
  t.match(await worker.controlPlane.reported(idle.place.attachment_id, 'closed'), { reason: 'ERR_SESSION_IDLE_LIMIT' })
  t.equal(busy.client.end, undefined)
})

t.test('whoever begins to listen while a limit is near is told so, and not once it is far again', async t => {
  // Near is twelve seconds here, which is time enough to look.
  const on = await TestWorker.start(t, { times: { pollMs: 50, secondMs: 10 * SECOND_MS } })
  const { place, client } = await up({ limits: { ...DEFAULT_LIMITS, idle_seconds: 2000 } }, on)
  const first = await bindTo(place, ['events'], { on })
  on.controlPlane.policies.set(place.attachment_id, {
    allowed_channels: ALL,
    limits: { ...DEFAULT_LIMITS, idle_seconds: 500 },
    session_ends_at: new Date(Date.now() + 30_000).toISOString(),
    session_seconds_left: 10,
  })
  t.match(await heard(first, { type: 'limit_near', limit: 'session_seconds' }), { seconds_left: Number })
  const second = await bindTo(place, ['events'], { on })
  const { seconds_left } = await heard(second, { type: 'limit_near', limit: 'session_seconds' })
  t.ok(0 < seconds_left && seconds_left <= 60, `${seconds_left}`)
  t.same(
    second.texts.slice(1, 3).map(({ type }) => type),
    ['policy', 'limit_near'],
    'after what it is about',
  )
  on.controlPlane.policies.set(place.attachment_id, { allowed_channels: ALL })
  await heard(second, { type: 'policy', session_ends_at: null })
  const third = await bindTo(place, ['events'], { on })
  say(third, { type: 'upload_cancel', upload_id: randomUUID() })
  await heard(third, { type: 'upload_refused' })
  t.notOk(third.texts.some(({ type }) => type === 'limit_near'))
  t.equal(client.end, undefined)
})

t.test('a session ends by the clock of the control plane, however wrong that of the worker is', async t => {
  const long = await up()
  const short = await up()
  const hours = (count: number) => new Date(Date.now() + count * 3_600_000).toISOString()
  worker.controlPlane.policies.set(long.place.attachment_id, {
    allowed_channels: ALL,
    session_ends_at: hours(-2),
    session_seconds_left: 60,
  })
  worker.controlPlane.policies.set(short.place.attachment_id, {
    allowed_channels: ALL,
    session_ends_at: hours(2),
    session_seconds_left: 0,
  })
  t.equal((await short.client.closed).reason, 'ERR_SESSION_TIME_LIMIT')
  t.equal(long.client.end, undefined)
  worker.controlPlane.policies.set(long.place.attachment_id, {
    allowed_channels: ALL,
    session_ends_at: 'when the cows come home',
    session_seconds_left: 60,
  })
  t.equal((await long.client.closed).reason, 'ERR_SESSION_TIME_LIMIT', 'what cannot be read is over')
})

t.test('a session is over at its time, whatever happens in it', async t => {
  const { place, client } = await up()
  const events = await bindTo(place, ['events'])
  const endIn = (ms: number) => {
    const session_ends_at = new Date(Date.now() + ms).toISOString()
    worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: ALL, session_ends_at })
    return session_ends_at
  }
  const timer = setInterval(() => client.sendRdp(input(Buffer.from('x'))), SECOND_MS)
  t.match(await heard(events, { type: 'policy', session_ends_at: endIn(3_600_000) }), {})
  const session_ends_at = endIn(300)
  t.match(await client.closed, { code: 4007, reason: 'ERR_SESSION_TIME_LIMIT' })
  t.ok(Date.now() >= Date.parse(session_ends_at), 'and not before')
  clearInterval(timer)
})
