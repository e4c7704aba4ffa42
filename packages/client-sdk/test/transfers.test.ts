import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UPLOAD_WINDOW_BYTES } from '@rap/data-plane-protocol'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import {
  createRapClient,
  type RapClientOptions,
  type Session,
  type TransferEvent,
  type Transfers,
  type UploadSource,
} from '../src/index.ts'
import {
  authority,
  binds,
  type ControlPlaneScript,
  dataPlane,
  direct,
  gateway,
  problem,
  RESOURCE_ID,
  SESSION_ID,
  scriptedControlPlane,
  serverCertificate,
  type Teardown,
} from './helper.ts'
import { TransfersWorker } from './transfers-worker.ts'

const ca = await authority()
const tls = await serverCertificate(ca)
const ALL = ['display', 'input', 'file_upload', 'events']
const MIB = 1024 * 1024
const name = 'report.bin'

interface World {
  readonly worker: TransfersWorker
  readonly session: Session
  readonly script: ControlPlaneScript
  readonly controlPlane: Awaited<ReturnType<typeof scriptedControlPlane>>
}

async function world(
  t: Teardown,
  script: Partial<ControlPlaneScript> = {},
  options: Partial<RapClientOptions> = {},
): Promise<World> {
  const worker = new TransfersWorker()
  const end = await dataPlane(t, tls, worker.script)
  const whole: ControlPlaneScript = { candidates: [direct(end.url)], channels: ALL, ...script }
  const controlPlane = await scriptedControlPlane(t, whole)
  const rap = createRapClient({ baseUrl: controlPlane.origin, trust: { caPem: ca.certificatePem }, ...options })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const session = await rap.sessions.start({ resourceId: RESOURCE_ID })
  return { worker, session, script: whole, controlPlane }
}

/** Transfers that a test does not have to close. */
async function opened(t: Teardown, { session }: World, options: Parameters<Session['transfers']>[0] = {}) {
  const transfers = await session.transfers({ retryForMs: 20_000, ...options })
  t.teardown(() => transfers.close())
  return transfers
}

function listen(transfers: Transfers): TransferEvent[] {
  const seen: TransferEvent[] = []
  const events = transfers.events()
  void (async () => {
    for await (const event of events) seen.push(event)
  })()
  return seen
}

const blobOf = (bytes: Uint8Array<ArrayBuffer>): UploadSource => new Blob([bytes])

t.test(
  'a file arrives bit for bit, in pieces that never outgrow the window, with progress that only grows',
  async t => {
    const here = await world(t)
    const { worker } = here
    const transfers = await opened(t, here)
    t.same(worker.binds[0]?.channels, ['file_upload', 'events'], 'RDP channels are left to the desktop')
    const content = randomBytes(9 * MIB + 12_345)
    const path = join(t.testdir(), 'file')
    await writeFile(path, content)
    const progress: number[] = []
    worker.onChunk = async () => {
      await new Promise(resolve => setTimeout(resolve, 3))
      return false
    }
    const uploadId = randomUUID()
    const done = await transfers.upload(await openAsBlob(path), {
      name,
      uploadId,
      onProgress: (sent, total) => {
        t.equal(total, content.length)
        progress.push(sent)
      },
    })
    t.same(done, { name })
    t.ok(worker.content(uploadId).equals(content))
    t.ok(worker.mostUnderWay.bytes <= UPLOAD_WINDOW_BYTES)
    t.same(
      progress,
      progress.toSorted((a, b) => a - b),
    )
    t.equal(progress.at(-1), content.length)
    t.match(transfers.items, [{ upload_id: uploadId, name, state: 'ready' }])
  },
)

t.test('an empty file is a file', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  t.same(await transfers.upload(blobOf(new Uint8Array()), { name }), { name })
  t.match(here.worker.requests.at(-1), { sha256: createHash('sha256').digest('hex') })
})

t.test('two uploads take turns', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  const ids = [randomUUID(), randomUUID()]
  await Promise.all(ids.map(uploadId => transfers.upload(blobOf(randomBytes(6 * MIB)), { name: uploadId, uploadId })))
  const half = here.worker.chunkOrder.slice(0, here.worker.chunkOrder.length / 2)
  for (const id of ids) {
    const share = half.filter(other => other === id).length / half.length
    t.ok(share > 0.3 && share < 0.7, `${share} of the first half`)
  }
})

t.test('many uploads stay within what a connection may have under way', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  here.worker.onChunk = async () => {
    await new Promise(resolve => setImmediate(resolve))
    return false
  }
  await Promise.all(
    Array.from({ length: 150 }, (_, number) => transfers.upload(blobOf(randomBytes(5000)), { name: `${number}` })),
  )
  t.equal(transfers.items.filter(({ state }) => state === 'ready').length, 150)
  await Promise.all(transfers.items.map(({ upload_id: id }) => transfers.remove(id)))
  t.equal(here.worker.uploads.size, 0)
  t.ok(here.worker.mostUnderWay.messages <= 64, `${here.worker.mostUnderWay.messages} messages`)
  t.equal(here.worker.sockets.length, 1)
})

t.test('an upload goes on where the worker is, however often the connection is cut', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  const seen = listen(transfers)
  const content = randomBytes(12 * MIB)
  const uploadId = randomUUID()
  const cuts = [2 * MIB, 5 * MIB, 8 * MIB]
  worker.onChunk = socket => {
    if (worker.received < (cuts[0] ?? Number.POSITIVE_INFINITY)) return false
    cuts.shift()
    socket.terminate()
    return true
  }
  t.same(await transfers.upload(blobOf(content), { name, uploadId }), { name })
  t.ok(worker.content(uploadId).equals(content), 'bit for bit')
  t.equal(worker.sockets.length, 4)
  t.equal(worker.received, content.length, 'nothing was sent twice')
  t.equal(new Set(worker.binds.map(({ token }) => token)).size, 4, 'each bind has a token of its own')
  t.same(
    seen.map(({ type }) => type).filter(type => type === 'lost' || type === 'connected'),
    ['lost', 'connected', 'lost', 'connected', 'lost', 'connected'],
  )
})

t.test('a worker that knows nothing of an upload any more gets it from the beginning', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  const content = randomBytes(3 * MIB)
  const uploadId = randomUUID()
  let hasRestarted = false
  worker.onChunk = socket => {
    if (hasRestarted || worker.received < MIB) return false
    hasRestarted = true
    worker.uploads.clear()
    socket.terminate()
    return true
  }
  t.same(await transfers.upload(blobOf(content), { name, uploadId }), { name })
  t.ok(hasRestarted)
  t.ok(worker.content(uploadId).equals(content))
})

t.test('a network that says nothing any more is given up', async t => {
  const here = await world(t, {}, { timeouts: { silenceMs: 400 } })
  const { worker } = here
  const transfers = await opened(t, here)
  let isCut = false
  worker.onChunk = socket => {
    if (worker.received < MIB || isCut) return false
    isCut = true
    socket.pause()
    return true
  }
  const content = randomBytes(6 * MIB)
  const uploadId = randomUUID()
  await transfers.upload(blobOf(content), { name, uploadId })
  t.ok(worker.content(uploadId).equals(content))
  // A machine that stands still for so long is silent as well.
  t.ok(worker.sockets.length >= 2)
})

t.test('an answer that is lost with its connection is found in the next list', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  worker.silent = new Set(['upload_done'])
  const uploading = transfers.upload(blobOf(randomBytes(1000)), { name })
  await waitFor(() => [...worker.uploads.values()][0]?.isReady === true, { what: 'the file' })
  worker.sockets[0]?.terminate()
  t.same(await uploading, { name })
  t.equal(worker.requests.filter(({ type }) => type === 'upload_begin').length, 1)
})

t.test('another program goes on with an upload by its id', async t => {
  const here = await world(t)
  const { worker } = here
  const content = randomBytes(5 * MIB)
  const uploadId = randomUUID()
  const first = await opened(t, here)
  worker.onChunk = () => worker.received > 2 * MIB
  const uploading = first.upload(blobOf(content), { name, uploadId })
  await waitFor(() => worker.received > 2 * MIB, { what: 'the first part' })
  const ended = t.rejects(uploading, { code: 'ERR_DATA_PLANE_CLOSED', sessionId: SESSION_ID })
  t.match(await first.close(), { orderly: true })
  await ended
  worker.onChunk = () => false
  const before = worker.received
  const second = await opened(t, here)
  t.same(await second.upload(blobOf(content), { name, uploadId }), { name })
  t.ok(worker.content(uploadId).equals(content))
  t.equal(worker.received - before, content.length - before, 'only the rest was sent')
  t.notOk(worker.requests.some(({ type }) => type === 'upload_cancel'))
  await t.rejects(second.upload(blobOf(randomBytes(7)), { name, uploadId }), { code: 'ERR_UPLOAD_CONFLICT' })
})

t.test('an aborted upload is cancelled on the worker, also after its connection', async t => {
  for (const cut of [false, true]) {
    const here = await world(t)
    const { worker } = here
    const transfers = await opened(t, here)
    const given = new AbortController()
    worker.onChunk = socket => {
      given.abort()
      if (cut) socket.terminate()
      return true
    }
    await t.rejects(transfers.upload(blobOf(randomBytes(4 * MIB)), { name, signal: given.signal }), {
      code: 'ERR_ABORTED',
    })
    await waitFor(() => worker.uploads.size === 0, { what: 'the cancel' })
    worker.onChunk = () => false
    t.same(await transfers.upload(blobOf(randomBytes(4 * MIB)), { name }), { name }, 'the window is free again')
  }
})

t.test('an upload that was aborted before its turn says nothing', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  await t.rejects(transfers.upload(blobOf(randomBytes(10)), { name, signal: AbortSignal.abort() }), {
    code: 'ERR_ABORTED',
  })
  await transfers.upload(blobOf(randomBytes(10)), { name })
  t.same(
    here.worker.requests.map(({ type }) => type),
    ['upload_begin', 'upload_end'],
  )
})

t.test('a refusal has code, detail and remedy, and harms no other upload', async t => {
  const here = await world(t)
  here.worker.refuse = ({ name: given }) => (given === 'too-large' ? 'ERR_UPLOAD_QUOTA' : undefined)
  const transfers = await opened(t, here)
  const other = transfers.upload(blobOf(randomBytes(3 * MIB)), { name })
  await t.rejects(transfers.upload(blobOf(randomBytes(10)), { name: 'too-large' }), {
    code: 'ERR_UPLOAD_QUOTA',
    detail: 'The files of this session together would be larger than the policy allows.',
    remedy: /Remove files/,
  })
  t.same(await other, { name })
})

t.test('a file that changes while it is read is given up', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  const path = join(t.testdir(), 'file')
  await writeFile(path, randomBytes(4 * MIB))
  const blob = await openAsBlob(path)
  await writeFile(path, randomBytes(10))
  await t.rejects(transfers.upload(blob, { name }), { code: 'ERR_FILE_UNREADABLE', remedy: 'Choose it again.' })
  const short = { size: 100, slice: () => new Blob([new Uint8Array(5)]) }
  await t.rejects(transfers.upload(short, { name }), { code: 'ERR_FILE_UNREADABLE' })
  await waitFor(() => worker.uploads.size === 0, { what: 'the cancel' })
  const reads: number[] = []
  const liar: UploadSource = {
    size: 2 * MIB,
    slice: (start, end) => {
      reads.push(start)
      return new Blob([new Uint8Array(end - start).fill(reads.length)])
    },
  }
  worker.onChunk = async socket => {
    if (reads.length > 2) return false
    // The client reads on, so that it has to read again what is lost here.
    socket.pause()
    await waitFor(() => reads.includes(MIB), { what: 'the second block' })
    socket.terminate()
    return true
  }
  await t.rejects(transfers.upload(liar, { name }), { code: 'ERR_UPLOAD_HASH_MISMATCH' })
})

t.test('what cannot be sent is refused here', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  const blob = blobOf(randomBytes(1))
  for (const [file, options, code] of [
    [blob, {}, 'ERR_OPTION_INVALID'],
    [blob, { name: '' }, 'ERR_OPTION_INVALID'],
    [blob, { name: 'x'.repeat(1025) }, 'ERR_UPLOAD_NAME'],
    [blob, { name, uploadId: 'x' }, 'ERR_OPTION_INVALID'],
    [{ ...blob, size: Number.NaN }, { name }, 'ERR_OPTION_INVALID'],
  ] as const) {
    await t.rejects(transfers.upload(file, options), { code })
  }
  const uploadId = randomUUID()
  const first = transfers.upload(blob, { name, uploadId })
  await t.rejects(transfers.upload(blob, { name, uploadId }), { code: 'ERR_OPTION_INVALID' })
  await first
  await t.rejects(transfers.remove('x'), { code: 'ERR_OPTION_INVALID' })
  await t.rejects(transfers.remove(randomUUID()), { code: 'ERR_UPLOAD_UNKNOWN' })
  t.equal(here.worker.uploads.size, 1)
})

t.test('an upload that is removed while it runs is told so', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  const uploadId = randomUUID()
  here.worker.onChunk = () => true
  const uploading = t.rejects(transfers.upload(blobOf(randomBytes(5 * MIB)), { name, uploadId }), {
    code: 'ERR_UPLOAD_CANCELLED',
  })
  await waitFor(() => here.worker.received > 0, { what: 'the first chunk' })
  await transfers.remove(uploadId)
  await uploading
  t.equal(here.worker.uploads.size, 0)
})

t.test('whoever removes what is being cancelled waits for the same answer, and its id is free afterwards', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  const uploadId = randomUUID()
  const given = new AbortController()
  worker.onChunk = socket => {
    given.abort()
    socket.terminate()
    return true
  }
  const content = randomBytes(MIB)
  await t.rejects(transfers.upload(blobOf(content), { name, uploadId, signal: given.signal }), { code: 'ERR_ABORTED' })
  worker.onChunk = () => false
  const removals = [transfers.remove(uploadId), transfers.remove(uploadId)]
  await t.rejects(transfers.upload(blobOf(content), { name, uploadId }), { code: 'ERR_OPTION_INVALID' })
  await Promise.all(removals)
  t.equal(worker.requests.filter(({ type }) => type === 'upload_cancel').length, 1, 'it is asked for once')
  t.same(await transfers.upload(blobOf(content), { name, uploadId }), { name })
})

t.test(
  'one that is opened again has the channels for good, also while the older one looks for its lost link',
  async t => {
    const here = await world(t)
    const { worker } = here
    const older = await opened(t, here)
    const content = randomBytes(2 * MIB)
    const uploadId = randomUUID()
    worker.onChunk = socket => {
      socket.terminate()
      return true
    }
    const uploading = t.rejects(older.upload(blobOf(content), { name, uploadId }), {
      code: 'ERR_SESSION_CHANNELS_BOUND_AGAIN',
    })
    await waitFor(() => !older.connected, { what: 'the cut' })
    worker.onChunk = () => false
    const newer = await opened(t, here)
    t.match(await older.closed, { code: 4009, reason: 'ERR_SESSION_CHANNELS_BOUND_AGAIN', orderly: false })
    await uploading
    t.same(await newer.upload(blobOf(content), { name, uploadId }), { name }, 'and goes on where the older one was')
    t.equal(newer.connected, true)
  },
)

t.test('what was removed is not among the items any more, whenever the next list comes', async t => {
  const here = await world(t)
  const transfers = await opened(t, here)
  const uploadId = randomUUID()
  await transfers.upload(blobOf(randomBytes(5)), { name, uploadId })
  await waitFor(() => transfers.items[0]?.state === 'ready', { what: 'the list' })
  here.worker.silent = new Set(['transfers'])
  await transfers.remove(uploadId)
  t.same(transfers.items, [])
})

t.test('a file that is lost on the worker is told with the reason, and is no item any more', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  const uploadId = randomUUID()
  await transfers.upload(blobOf(randomBytes(1000)), { name, uploadId })
  await waitFor(() => transfers.items[0]?.state === 'ready', { what: 'the file in the list' })
  const events = listen(transfers)
  const [socket] = worker.sockets
  for (const _ of [1, 2]) worker.refused(socket!, uploadId, 'ERR_UPLOAD_DAMAGED')
  const lost = () => events.filter(({ type }) => type === 'taken_away')
  await waitFor(() => lost().length > 0, { what: 'the loss' })
  t.match(lost(), [
    { item: { upload_id: uploadId, name }, error: { code: 'ERR_UPLOAD_DAMAGED', remedy: /administrator/ } },
  ])
  t.equal(lost().length, 1)
  t.same(transfers.items, [])
})

t.test('one that cannot be opened again leaves the older one as it was', async t => {
  const here = await world(t)
  const older = await opened(t, here)
  const events = listen(older)
  await t.rejects(here.session.transfers({ signal: AbortSignal.abort() }))
  await waitFor(() => events.some(({ type }) => type === 'connected'), { what: 'the older one' })
  t.same(await older.upload(blobOf(randomBytes(10)), { name }), { name })
})

t.test('notices come as the worker says them, and the newest policy can be read', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  t.match(transfers.policy, { channels: ['file_upload', 'events'], sessionEndsAt: null })
  const seen = listen(transfers)
  const [socket] = worker.sockets
  if (socket === undefined) throw new Error('no connection')
  worker.say(socket, { type: 'limit_near', limit: 'idle_seconds', seconds_left: 60 })
  worker.say(socket, { type: 'withheld', channel: 'cliprdr', code: 'ERR_CLIPBOARD_FORMAT', detail: 'No text.' })
  worker.say(socket, { type: 'transfers', drive_mounted: true, items: [] })
  await waitFor(() => seen.length === 3, { what: 'the notices' })
  t.match(seen, [
    { type: 'limit_near', seconds_left: 60 },
    { type: 'withheld', code: 'ERR_CLIPBOARD_FORMAT' },
    { type: 'transfers', drive_mounted: true },
  ])
  t.equal(transfers.driveMounted, true)
  const reader = transfers.events()
  await transfers.close()
  t.same(await reader.next(), { done: true, value: undefined })
  t.same(await transfers.events().next(), { done: true, value: undefined })
  await t.rejects(transfers.upload(blobOf(randomBytes(1)), { name }), { code: 'ERR_DATA_PLANE_CLOSED' })
})

t.test('a limit that is near at the bind is the first event, and is told to one reader', async t => {
  const here = await world(t)
  const { worker } = here
  worker.near = [
    { type: 'limit_near', limit: 'session_seconds', seconds_left: 50 },
    { type: 'limit_near', limit: 'idle_seconds', seconds_left: 0 },
  ]
  const transfers = await opened(t, here)
  const [first, second] = [listen(transfers), listen(transfers)]
  const [socket] = worker.sockets
  worker.say(socket!, { type: 'transfers', drive_mounted: true, items: [] })
  await waitFor(() => first.length === 2 && second.length === 1, { what: 'the events' })
  t.match(first, [{ type: 'limit_near', limit: 'session_seconds' }, { type: 'transfers' }])
  const [near] = first
  t.ok(near?.type === 'limit_near' && near.seconds_left > 0 && near.seconds_left <= 50)
})

t.test('a policy that takes uploads away ends them, and the notices go on', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here)
  worker.onChunk = socket => {
    worker.tellPolicy(socket, ['events'])
    return true
  }
  const refusal = { code: 'ERR_UPLOAD_NOT_ALLOWED', detail: 'Sending files is off by policy.' }
  await t.rejects(transfers.upload(blobOf(randomBytes(4 * MIB)), { name }), refusal)
  await t.rejects(transfers.upload(blobOf(randomBytes(1)), { name }), refusal)
  t.equal(transfers.connected, true)
  t.notOk(worker.requests.some(({ type }) => type === 'upload_cancel'))
})

t.test('an end that is final is told to everybody, with its reason', async t => {
  for (const [code, reason] of [
    [4008, 'ERR_SESSION_POLICY'],
    [4009, 'ERR_SESSION_CHANNELS_BOUND_AGAIN'],
    [4007, 'ERR_SESSION_TIME_LIMIT'],
    [4001, 'ERR_SESSION_TERMINATED'],
  ] as const) {
    const here = await world(t)
    const transfers = await opened(t, here)
    here.worker.onChunk = socket => {
      socket.close(code, reason)
      return true
    }
    await t.rejects(transfers.upload(blobOf(randomBytes(4 * MIB)), { name }), { code: reason, closeCode: code })
    t.match(await transfers.closed, { code, reason, orderly: false })
    t.equal(here.worker.sockets.length, 1)
  }
})

t.test('messages that no worker sends end it', async t => {
  const stray = randomUUID()
  for (const message of [
    'x',
    '{"type":"bound"}',
    Buffer.from('x'),
    JSON.stringify({ type: 'rdp', data: 'AAAA' }),
    JSON.stringify({ type: 'upload_progress', upload_id: stray, offset: -1 }),
  ]) {
    const here = await world(t)
    const transfers = await opened(t, here)
    here.worker.sockets[0]?.send(message)
    t.match(await transfers.closed, { reason: 'ERR_DATA_PLANE_PROTOCOL' })
  }
  const here = await world(t)
  const transfers = await opened(t, here)
  here.worker.onChunk = socket => {
    const [uploadId] = here.worker.uploads.keys()
    here.worker.say(socket, { type: 'upload_progress', upload_id: uploadId ?? '', offset: 4 * MIB })
    return true
  }
  await t.rejects(transfers.upload(blobOf(randomBytes(4 * MIB)), { name }), { code: 'ERR_DATA_PLANE_PROTOCOL' })
})

t.test('a worker that sends no list is no connection', async t => {
  const here = await world(t, {}, { timeouts: { bindMs: 300 } })
  here.worker.silent = new Set(['transfers'])
  await t.rejects(here.session.transfers(), { code: 'ERR_TIMEOUT' })
})

t.test('the gateway is the way where the worker cannot be reached', async t => {
  const fallback = new TransfersWorker()
  const end = await dataPlane(t, tls, fallback.script)
  const here = await world(t, {
    candidates: [direct('wss://127.0.0.1:1/data-plane/v1'), gateway(end.url)],
  })
  const transfers = await opened(t, here)
  t.same(await transfers.upload(blobOf(randomBytes(100)), { name }), { name })
  t.equal(fallback.uploads.size, 1)
})

t.test('only what the policy allows is bound, and nothing at all where it allows nothing', async t => {
  const here = await world(t, { channels: ['display', 'events'] })
  const transfers = await opened(t, here)
  t.same(here.worker.binds[0]?.channels, ['events'])
  await t.rejects(transfers.upload(blobOf(randomBytes(1)), { name }), { code: 'ERR_UPLOAD_NOT_ALLOWED' })
  const closed = await world(t, { channels: ['display'] })
  await t.rejects(closed.session.transfers(), { code: 'ERR_CHANNEL_NOT_ALLOWED', remedy: 'Ask your administrator.' })
})

t.test('a desktop is bound without the side channels, unless they are asked for', async t => {
  const here = await world(t)
  await (await here.session.connect()).close()
  await (await here.session.connect({ channels: ['display', 'events'] })).close()
  t.same(
    here.worker.binds.map(({ channels }) => channels),
    [
      ['display', 'input'],
      ['display', 'events'],
    ],
  )
})

t.test('a bind that a narrower policy refused is tried once with what is left', async t => {
  let refusals = 0
  const bound: string[][] = []
  const end = await dataPlane(t, tls, socket => {
    socket.once('message', data => {
      bound.push(JSON.parse((data as Buffer).toString()).channels)
      if (refusals-- > 0) socket.close(4403, 'ERR_BIND_CHANNELS_NOT_ALLOWED')
    })
    if (refusals <= 0) binds()(socket)
  })
  const here = await world(t, { candidates: [direct(end.url)] })
  refusals = 1
  here.script.channels = ['display']
  const connection = await here.session.connect()
  t.same(bound, [['display', 'input'], ['display']])
  t.equal(here.controlPlane.tokensMade(), 2)
  t.same(here.session.attachment.allowed_channels, ['display'])
  await connection.close()

  bound.length = 0
  refusals = 9
  await t.rejects(here.session.connect({ channels: ['display', 'input'] }), { code: 'ERR_BIND_CHANNELS_NOT_ALLOWED' })
  t.equal(bound.length, 1, 'whoever asks for more than there is is told so')
  here.script.channels = []
  await t.rejects(here.session.connect(), { code: 'ERR_BIND_CHANNELS_NOT_ALLOWED' })
})

t.test('uploads wait for a session that is detached, and go on over the next attachment', async t => {
  let isDetached = false
  const here = await world(t, {
    intercept: ({ path }, response) => {
      if (!isDetached || !path.endsWith('/data-plane-token')) return false
      problem(response, 409, 'ERR_SESSION_NOT_READY')
      return true
    },
  })
  const { worker, session } = here
  const transfers = await opened(t, here)
  const content = randomBytes(6 * MIB)
  const uploadId = randomUUID()
  worker.onChunk = socket => {
    if (worker.received < 2 * MIB || isDetached) return isDetached
    isDetached = true
    socket.close(4000, 'ERR_SESSION_DETACHED')
    return true
  }
  const uploading = transfers.upload(blobOf(content), { name, uploadId })
  await waitFor(() => here.controlPlane.requests.some(({ path }) => path.endsWith('/data-plane-token')), {
    what: 'the wish for a token',
  })
  t.equal(transfers.connected, false)
  worker.onChunk = () => false
  await session.attach()
  isDetached = false
  t.same(await uploading, { name })
  t.ok(worker.content(uploadId).equals(content))
})

t.test('an attach moves the connection, though the older attachment is closed by it', async t => {
  const here = await world(t, {
    intercept: ({ path }) => {
      if (path.endsWith('/attachments')) worker.sockets[0]?.close(4002, 'ERR_SESSION_TAKEN_OVER')
      return false
    },
  })
  const { worker, session } = here
  const transfers = await opened(t, here)
  await session.attach({ takeover: true })
  t.same(await transfers.upload(blobOf(randomBytes(10)), { name }), { name })
  t.equal(worker.sockets.length, 2)
})

t.test('a detach and a termination close the connection in order', async t => {
  for (const end of ['detach', 'terminate'] as const) {
    const here = await world(t)
    const transfers = await opened(t, here)
    await here.session[end]()
    t.match(await transfers.closed, { orderly: true })
    t.equal(here.worker.sockets.length, 1)
  }
})

t.test('a connection that does not come back in time ends the uploads', async t => {
  const here = await world(t)
  const { worker } = here
  const transfers = await opened(t, here, { retryForMs: 300 })
  worker.onChunk = socket => {
    here.script.candidates.splice(0, 1, direct('wss://127.0.0.1:1/data-plane/v1'))
    socket.terminate()
    return true
  }
  await t.rejects(transfers.upload(blobOf(randomBytes(MIB)), { name }), { code: 'ERR_NO_PATH' })
  t.match(await transfers.closed, { reason: 'ERR_NO_PATH' })
})
