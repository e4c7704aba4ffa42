import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { CHANNELS, type Channel, DEFAULT_LIMITS } from '@rap/session-policy'
import { tempDir, waitFor } from '@rap/testkit'
import t from 'tap'
import { encodeChannelMessage } from '../../../../packages/rdp/src/channel-pdu.ts'
import { encodeFormatList } from '../../../../packages/rdp/src/cliprdr/format-list.ts'
import { CB, encodeCliprdrPdu, encodeFormatDataRequest } from '../../../../packages/rdp/src/cliprdr/pdu.ts'
import { PDUTYPE2 } from '../../../../packages/rdp/src/share.ts'
import * as rdp from '../../../../packages/rdp/test/relay/harness.ts'
import type { DataPlaneClient } from '../client.ts'
import { startDesktop } from '../desktop.ts'
import { problem } from '../peer.ts'
import { type Ordered, TestWorker } from '../worker.ts'

const ALL = [...CHANNELS]
/** The second channel that the relay asks the desktop for. */
const CLIPRDR = 1021

const worker = await TestWorker.start(t, { times: { pollMs: 50, auditWindowMs: 50 } })
const desktop = await startDesktop(t)

async function ordered(of = worker): Promise<Ordered> {
  const place = await of.ready({ address: desktop.address }, { allowed_channels: ALL })
  of.controlPlane.policies.set(place.attachment_id, { allowed_channels: ALL, limits: DEFAULT_LIMITS })
  return place
}

async function connectTo(place: Ordered, channels: readonly Channel[], of = worker) {
  const credentials = await of.credentials(place, { claims: { allowed_channels: ALL } })
  return await of.bind(place, { ...credentials, channels })
}

async function bindTo(place: Ordered, channels: readonly Channel[], of = worker): Promise<DataPlaneClient> {
  const { client, outcome } = await connectTo(place, channels, of)
  if (outcome !== 'bound') throw new Error(`bind was refused with ${outcome.reason}`)
  return client
}

async function up(of = worker): Promise<{ place: Ordered; client: DataPlaneClient }> {
  const place = await ordered(of)
  const client = await bindTo(place, ['display', 'input'], of)
  await client.rdp?.toActive()
  return { place, client }
}

const say = (client: DataPlaneClient, message: object) => client.socket.send(JSON.stringify(message))

// biome-ignore lint/suspicious/noExplicitAny: messages of the protocol, as their tests read them.
async function heard(client: DataPlaneClient, what: Record<string, unknown>): Promise<any> {
  const fits = (message: Record<string, unknown>) =>
    Object.entries(what).every(([name, value]) => JSON.stringify(message[name]) === JSON.stringify(value))
  return await waitFor(() => client.texts.find(fits), { what: JSON.stringify(what), intervalMs: 5 })
}

/** Waits until the worker has taken up a new policy. */
async function inForce({ attachment_id }: Ordered): Promise<void> {
  const isIt = (line: string) => line.includes('"policy_in_force"') && line.includes(attachment_id)
  await waitFor(() => worker.lines.some(isIt), { what: 'the policy', intervalMs: 5 })
}

/** Sends a whole file of a few bytes. */
async function upload(client: DataPlaneClient, name: string): Promise<{ id: string; sha256: string }> {
  const bytes = randomBytes(12)
  const id = randomUUID()
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  say(client, { type: 'upload_begin', upload_id: id, name, size: bytes.length })
  await heard(client, { type: 'upload_progress', upload_id: id })
  say(client, { type: 'upload_chunk', upload_id: id, offset: 0, data: bytes.toString('base64') })
  say(client, { type: 'upload_end', upload_id: id, sha256 })
  await heard(client, { type: 'upload_done', upload_id: id })
  return { id, sha256 }
}

/** Sends while nothing is read, and waits for the end; its reason is lost with what was not read. */
async function cutOff({ socket, closed }: DataPlaneClient, flood: () => void): Promise<void> {
  socket.pause()
  flood()
  await waitFor(() => socket.bufferedAmount === 0, { what: 'the end of the flood' }).catch(() => undefined)
  socket.resume()
  await closed
}

t.test('a policy that gets narrower while a bind is decided holds for the connection that is bound', async t => {
  for (const channels of [['file_upload'], ['file_upload', 'events']] as const) {
    const { place } = await up()
    const answer = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    worker.controlPlane.intercept = async ({ path }) => {
      if (path !== '/internal/v1/binds') return undefined
      asked.resolve()
      await answer.promise
      return undefined
    }
    const binding = connectTo(place, channels)
    await asked.promise
    const narrower: Channel[] = ['display', 'input', 'events']
    worker.controlPlane.policies.set(place.attachment_id, { allowed_channels: narrower, limits: DEFAULT_LIMITS })
    await inForce(place)
    answer.resolve()
    const { client } = await binding
    worker.controlPlane.intercept = () => undefined
    if (channels.length === 1) {
      t.equal((await client.closed).reason, 'ERR_SESSION_POLICY')
      continue
    }
    t.same((await heard(client, { type: 'policy' })).allowed_channels, narrower)
    const id = randomUUID()
    say(client, { type: 'upload_begin', upload_id: id, name: 'a.txt', size: 4 })
    t.equal((await heard(client, { type: 'upload_refused', upload_id: id })).code, 'ERR_UPLOAD_NOT_ALLOWED')
  }
})

t.test('a client beside its desktop that asks on and on and reads nothing is cut off; its desktop stays', async t => {
  const { place, client: main } = await up()
  const side = await bindTo(place, ['events'])
  const request = JSON.stringify({ type: 'upload_cancel', upload_id: randomUUID() })
  await cutOff(side, () => {
    for (let round = 0; round < 150_000; round++) side.socket.send(request)
  })
  t.ok(side.texts.length < 100_000, `${side.texts.length} answers`)
  t.equal(main.end, undefined)
})

t.test('a file that is said to be whole again and again has come once', async t => {
  const { place } = await up()
  const side = await bindTo(place, ['file_upload', 'events'])
  const { id, sha256 } = await upload(side, 'once.txt')
  for (let round = 0; round < 20; round++) say(side, { type: 'upload_end', upload_id: id, sha256 })
  await waitFor(() => side.texts.filter(({ type }) => type === 'upload_done').length === 21, { what: 'the answers' })
  const other = await upload(side, 'other.txt')
  t.ok(other)
  const counted = () =>
    worker.controlPlane.audited
      .filter(({ event, attachment_id }) => event === 'upload_finished' && attachment_id === place.attachment_id)
      .reduce((sum, { details }) => sum + 1 + Number(details?.suppressed_count ?? 0), 0)
  await waitFor(() => counted() >= 2, { what: 'both in the audit' })
  t.equal(counted(), 2)
})

t.test('a session that is said to be over while it is here keeps its files until its attachment ends', async t => {
  const { place, client: main } = await up()
  const side = await bindTo(place, ['file_upload', 'events'])
  // The word was right when it was asked for: the session was elsewhere then.
  worker.controlPlane.overSessions.add(place.session_id)
  const polls = worker.controlPlane.polled.length
  await waitFor(() => worker.controlPlane.polled.length > polls + 3, { what: 'some polls', intervalMs: 5 })
  const stored = await worker.metric('rap_worker_upload_stored_bytes')
  await upload(side, 'still.txt')
  t.equal(await worker.metric('rap_worker_upload_stored_bytes'), stored + 12)
  main.socket.close()
  await waitFor(async () => (await worker.metric('rap_worker_upload_stored_bytes')) === stored, {
    what: 'the end of the file',
  })
})

t.test('an end of a session that cannot be read has come, and holds up nobody else', async t => {
  const [first, second] = [await up(), await up()]
  const side = await bindTo(first.place, ['events'])
  await heard(side, { type: 'policy', session_ends_at: null })
  const policy = { allowed_channels: ALL, limits: DEFAULT_LIMITS }
  worker.controlPlane.policies.set(first.place.attachment_id, { ...policy, session_ends_at: 'whenever' })
  worker.controlPlane.policies.set(second.place.attachment_id, { ...policy, allowed_channels: ['input', 'events'] })
  t.equal((await first.client.closed).reason, 'ERR_SESSION_TIME_LIMIT')
  await inForce(second.place)
  t.equal(second.client.end, undefined)
})

t.test('a desktop that floods with messages for the log fills no log', async t => {
  const sessions = desktop.sessions.length
  const { place, client } = await up()
  const session = await desktop.session(sessions)
  const error = rdp.indication(rdp.IO, rdp.share(PDUTYPE2.SET_ERROR_INFO, new Uint8Array(4)))
  session.send(Buffer.concat(Array.from({ length: 5000 }, () => error)))
  await waitFor(() => (client.rdp?.receivedBytes ?? 0) >= 5000 * error.length, { what: 'all of them' })
  const lines = worker.lines.filter(line => line.includes('"relay_event"') && line.includes(place.attachment_id))
  t.ok(lines.length > 0 && lines.length <= 64, `${lines.length} lines`)
})

/** A desktop with a clipboard. */
async function clipboard(): Promise<{ place: Ordered; client: DataPlaneClient }> {
  const place = await ordered()
  const client = await bindTo(place, ['display', 'input', 'clipboard_client_to_server', 'clipboard_server_to_client'])
  const wire = client.rdp!
  wire.send(rdp.connectInitial())
  await wire.next()
  wire.send(rdp.mcs({ type: 'erect_domain_request' }), rdp.mcs({ type: 'attach_user_request' }))
  await wire.next()
  for (const channelId of [rdp.USER, rdp.IO, rdp.MESSAGE, rdp.REFUSED, rdp.DRDYNVC, CLIPRDR]) {
    wire.send(rdp.mcs({ type: 'channel_join_request', initiator: rdp.USER, channelId }))
    await wire.next()
  }
  wire.send(rdp.clientInfo())
  await wire.next()
  await wire.next()
  wire.send(rdp.confirmActive())
  return { place, client }
}

const onClipboard = (message: Uint8Array) =>
  Buffer.concat(encodeChannelMessage(message).map(part => rdp.request(CLIPRDR, part)))

/** Sends without reading, a tenth of a megabyte at a time, until the worker has ended the desktop; answers how. */
async function starve(place: Ordered, client: DataPlaneClient, sendSome: () => void) {
  const end = () =>
    worker.controlPlane.reports.find(
      report => report.attachment_id === place.attachment_id && report.state === 'closed',
    )
  client.socket.pause()
  for (let round = 0; end() === undefined && round < 400; round++) {
    sendSome()
    await waitFor(() => client.socket.bufferedAmount === 0 || end(), { what: 'what was sent', intervalMs: 2 })
  }
  client.socket.resume()
  return await worker.controlPlane.reported(place.attachment_id, 'closed')
}

t.test('a client that asks for the clipboard without end and reads nothing is cut off at a few megabytes', async t => {
  const { place, client } = await clipboard()
  const requests = Buffer.concat(Array.from({ length: 3000 }, () => onClipboard(encodeFormatDataRequest(13))))
  const { reason, stats } = await starve(place, client, () => client.socket.send(requests))
  t.equal(reason, 'ERR_RELAY_MEMORY_LIMIT')
  t.ok(Number(stats?.to_client_bytes) < 16 * 1024 * 1024, `${stats?.to_client_bytes} bytes`)
})

t.test('nor does a desktop that carries uploads too hold more of what its client does not read', async t => {
  const place = await ordered()
  const client = await bindTo(place, ['display', 'input', 'events'])
  const request = JSON.stringify({ type: 'upload_cancel', upload_id: randomUUID() })
  const { reason } = await starve(place, client, () => {
    for (let round = 0; round < 1000; round++) client.socket.send(request)
  })
  t.equal(reason, 'ERR_RELAY_MEMORY_LIMIT')
})

t.test('a text as long as a limit that was raised goes through', async t => {
  const sessions = desktop.sessions.length
  const { place, client } = await clipboard()
  const session = await desktop.session(sessions)
  worker.controlPlane.policies.set(place.attachment_id, {
    allowed_channels: ALL,
    limits: { ...DEFAULT_LIMITS, clipboard_bytes: 16 * 1024 * 1024 },
  })
  await inForce(place)
  client.rdp?.send(onClipboard(encodeFormatList([13], { long: false })))
  await waitFor(() => session.received.length > 0, { what: 'the list', intervalMs: 5 })
  const before = client.rdp?.receivedBytes ?? 0
  session.socket.pause()
  session.send(rdp.indication(CLIPRDR, ...encodeChannelMessage(encodeFormatDataRequest(13))))
  await waitFor(() => (client.rdp?.receivedBytes ?? 0) > before, { what: 'the request', intervalMs: 5 })
  const text = Buffer.alloc(12 * 1024 * 1024, 'ab')
  const answer = onClipboard(encodeCliprdrPdu({ msgType: CB.FORMAT_DATA_RESPONSE, msgFlags: 1, data: text }))
  for (let at = 0; at < answer.length; at += 512 * 1024) client.rdp?.send(answer.subarray(at, at + 512 * 1024))
  await waitFor(() => client.socket.bufferedAmount === 0, { what: 'the text on its way' })
  session.socket.resume()
  await waitFor(() => session.receivedBytes().length > text.length, { what: 'the text' })
  t.equal(client.end, undefined)
})

t.test('a worker that is revoked wipes the files of all sessions at once', async t => {
  const dir = tempDir('rap-uploads-')
  t.teardown(() => dir.remove())
  const revoked = await TestWorker.start(t, {
    env: { RDP_WORKER_UPLOAD_DIR: join(dir.path, 'uploads') },
    times: { pollMs: 50 },
  })
  const { place } = await up(revoked)
  const side = await bindTo(place, ['file_upload', 'events'], revoked)
  await upload(side, 'secret.txt')
  t.equal(readdirSync(join(dir.path, 'uploads')).length, 1)
  revoked.controlPlane.intercept = () => problem(403, 'ERR_WORKER_REVOKED')
  t.equal((await side.closed).reason, 'ERR_WORKER_REVOKED')
  await waitFor(() => readdirSync(join(dir.path, 'uploads')).length === 0, { what: 'the end of the files' })
})
