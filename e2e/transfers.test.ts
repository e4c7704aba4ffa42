import { createRapClient, type RapClient, type Session, type Transfers, type UploadSource } from '@rap/client-sdk'
import { freePort, startPlatform, startXrdp, targetOf, waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { startCutProxy } from './cut-proxy.ts'
import { startRecordingTarget } from './denial/recording-target.ts'
import { RdpClient } from './rdp-client.ts'
import { endless, noDriveHere, sha256OfEndless, sha256OnDrive } from './session-shell.ts'

const MIB = 2 ** 20
const LARGE = 200 * MIB + 17
const CHANNELS = ['display', 'input', 'file_upload', 'events'] as const

const workerPort = await freePort()
const gatewayPort = await freePort()
const direct = await startCutProxy(() => workerPort)
const gateway = await startCutProxy(() => gatewayPort)
t.teardown(() => Promise.all([direct.close(), gateway.close()]))
const target = await startRecordingTarget()
t.teardown(() => target.close())
const platform = await startPlatform({
  policy: { channels: CHANNELS },
  ports: { 'rdp-worker': workerPort, gateway: gatewayPort },
  gatewayPublicUrl: `wss://localhost:${gateway.port}/data-plane/v1`,
  env: { 'rdp-worker': { RDP_WORKER_PUBLIC_URL: `wss://localhost:${direct.port}/data-plane/v1` } },
})
t.teardown(() => platform.stop())
const rap: RapClient = createRapClient({
  baseUrl: platform.apiUrl,
  trust: { caPem: platform.authority.certificatePem },
})
await rap.login(platform.admin)

let names = 0
/** A session on a target that nobody looks at. */
async function quietSession(t: Test): Promise<Session> {
  const { id } = await platform.addTarget({
    name: `quiet-${names++}`,
    host: target.host,
    port: target.port,
    certificatePins: [target.certificateFingerprint],
    credential: { username: 'svc', password: 'transfers-Pa55' },
    security: 'tls',
  })
  const session = await rap.sessions.start({ resourceId: id })
  t.teardown(() => session.terminate())
  return session
}

/** A file of the person's machine; `before` is awaited before each block is read. */
function file(name: string, size: number, before: (offset: number) => unknown = () => {}): UploadSource {
  return {
    name,
    size,
    slice: (start, end) => ({
      async arrayBuffer() {
        await before(start)
        return Uint8Array.from(endless(name, start, end - start)).buffer
      },
    }),
  }
}

/** A file that is never read to its end, and a promise for its first bytes at the worker. */
function endlessUpload(transfers: Transfers, name: string, signal?: AbortSignal) {
  const uploadId = crypto.randomUUID()
  const uploading = transfers.upload(
    file(name, 64 * MIB, offset => (offset < 4 * MIB ? undefined : new Promise(() => {}))),
    { uploadId, ...(signal !== undefined && { signal }) },
  )
  const begun = waitFor(() => transfers.items.some(item => item.upload_id === uploadId && item.offset > 0), {
    what: 'the first bytes',
  })
  return { uploadId, uploading, begun }
}

/** Sends a large file and cuts the network at each of these offsets. */
async function uploadWithCuts(
  t: Test,
  transfers: Transfers,
  { name, size, cuts }: { name: string; size: number; cuts: readonly { at: number; cut: () => unknown }[] },
) {
  const left = [...cuts]
  const done = await transfers.upload(file(name, size), {
    onProgress: sent => {
      if (left[0] !== undefined && sent >= left[0].at) left.shift()?.cut()
    },
  })
  t.equal(left.length, 0, 'every cut was made')
  return done
}

t.test('an upload over the gateway outlives two cuts of the network', async t => {
  const session = await quietSession(t)
  const transfers = await session.transfers({ path: 'gateway' })
  const events: string[] = []
  const following = transfers.events()
  void (async () => {
    for await (const { type } of following) events.push(type)
  })()
  const cut = () => gateway.cut('all')
  const size = 80 * MIB
  const cuts = [
    { at: 20 * MIB, cut },
    { at: 50 * MIB, cut },
  ]
  const done = await uploadWithCuts(t, transfers, { name: 'gateway.bin', size, cuts })
  t.same(done, { name: 'gateway.bin' })
  t.match(transfers.items, [{ name: 'gateway.bin', size, offset: size, state: 'ready' }])
  t.equal(events.filter(type => type === 'lost').length, 2)
  t.equal(events.filter(type => type === 'connected').length, 2)
})

t.test(
  '200 MB outlive a cut of their own connection and one of the desktop too, and the desktop reads them bit for bit',
  { skip: noDriveHere() },
  async t => {
    const xrdp = await startXrdp()
    t.teardown(() => xrdp.stop())
    const { username, password } = xrdp
    const resource = await platform.addTarget(
      targetOf(xrdp, { name: 'xrdp', credential: { username, password }, security: 'tls' }),
    )
    const session = await rap.sessions.start({ resourceId: resource.id })
    t.teardown(() => session.terminate())
    await desktop(session)
    const transfers = await session.transfers()
    let attaching: Promise<void> | undefined
    const cutAll = () => {
      direct.cut('all')
      attaching = attachAgain(session)
    }
    const cuts = [
      { at: 60 * MIB, cut: () => direct.cut('newest') },
      { at: 130 * MIB, cut: cutAll },
    ]
    const done = await uploadWithCuts(t, transfers, { name: 'direct.bin', size: LARGE, cuts })
    await attaching
    t.same(done, { name: 'direct.bin' })
    await desktop(session)
    await waitFor(() => transfers.driveMounted, { what: 'the drive', timeoutMs: 30_000 })
    t.equal(await sha256OnDrive(xrdp, 'direct.bin'), sha256OfEndless('direct.bin', LARGE))
    await transfers.remove(transfers.items[0]?.upload_id ?? '')
    t.same(transfers.items, [])
  },
)

t.test('a cancelled upload is gone on the worker, and so is its part of the quota', async t => {
  const session = await quietSession(t)
  await rap.policies.resource(session.record.resource_id).put({ limits: { upload_session_bytes: 70 * MIB } })
  const transfers = await session.transfers()
  await waitFor(() => transfers.policy?.limits.upload_session_bytes === 70 * MIB, { what: 'the new limit' })
  const given = new AbortController()
  const { uploading, begun } = endlessUpload(transfers, 'cancelled.bin', given.signal)
  await begun
  t.match(transfers.items, [{ name: 'cancelled.bin', size: 64 * MIB, state: 'receiving' }])
  await t.rejects(transfers.upload(file('second.bin', 10 * MIB)), {
    code: 'ERR_UPLOAD_QUOTA',
    remedy: /Remove files/,
  })
  given.abort()
  await t.rejects(uploading, { code: 'ERR_ABORTED' })
  await waitFor(() => transfers.items.length === 0, { what: 'the end of the upload' })
  t.same(await transfers.upload(file('second.bin', 10 * MIB)), { name: 'second.bin' })
})

t.test('limits of the policy refuse a file with its reason', async t => {
  const session = await quietSession(t)
  await rap.policies
    .resource(session.record.resource_id)
    .put({ limits: { upload_file_bytes: MIB, upload_extensions: ['txt'], upload_files: 1 } })
  const transfers = await session.transfers()
  await waitFor(() => transfers.policy?.limits.upload_files === 1, { what: 'the new limits' })
  await t.rejects(transfers.upload(file('large.txt', MIB + 1)), { code: 'ERR_UPLOAD_FILE_TOO_LARGE' })
  await t.rejects(transfers.upload(file('program.exe', 10)), { code: 'ERR_UPLOAD_EXTENSION' })
  await t.rejects(transfers.upload(file('..', 10)), { code: 'ERR_UPLOAD_NAME' })
  t.same(await transfers.upload(file('../small.txt', 10)), { name: 'small.txt' })
  await t.rejects(transfers.upload(file('other.txt', 10)), { code: 'ERR_UPLOAD_TOO_MANY' })
})

t.test('a policy that takes uploads away ends what is under way within two seconds', async t => {
  const session = await quietSession(t)
  const policy = rap.policies.resource(session.record.resource_id)
  const transfers = await session.transfers()
  const { uploading, begun } = endlessUpload(transfers, 'narrowed.bin')
  await begun
  const refused = t.rejects(uploading, { code: /^ERR_UPLOAD_NOT_ALLOWED$|^ERR_SESSION_POLICY$/ })
  t.match(await policy.put({ channels: ['display', 'input', 'events'] }), { sessions_changed: 1 })
  const since = performance.now()
  await refused
  t.ok(performance.now() - since < 4000, `${performance.now() - since} ms after the answer on a busy machine`)
  await waitFor(() => transfers.policy?.channels.join() === 'display,input,events', { what: 'the new policy' })
  await t.rejects(transfers.upload(file('late.bin', 1)), { code: 'ERR_UPLOAD_NOT_ALLOWED' })
})

t.test('files of one session are not of another, and another connection of the same session has them', async t => {
  const [session, neighbour] = [await quietSession(t), await quietSession(t)]
  const first = await session.transfers()
  t.same(await first.upload(file('own.bin', 1000)), { name: 'own.bin' })
  t.same((await neighbour.transfers()).items, [])
  const second = await session.transfers()
  t.match(second.items, [{ name: 'own.bin', state: 'ready' }])
  t.match(await first.closed, { reason: 'ERR_SESSION_CHANNELS_BOUND_AGAIN' })
})

/** Brings the desktop of a session up; what becomes of its connection is not looked at. */
async function desktop(session: Session): Promise<void> {
  const connection = await session.connect()
  const writer = connection.stream.writable.getWriter()
  const client = new RdpClient({ send: bytes => void writer.write(Uint8Array.from(bytes)).catch(() => {}) })
  const reading = (async () => {
    for await (const bytes of connection.stream.readable) client.push(bytes)
  })()
  reading.catch(() => {})
  client.start()
  await waitFor(() => client.isActive, { what: 'the desktop', timeoutMs: 30_000 })
}

/** As a person does it after a network that was away. */
async function attachAgain(session: Session): Promise<void> {
  await waitFor(async () => (await session.refresh()).state === 'detached', { what: 'the detach', timeoutMs: 20_000 })
  await session.attach()
}
