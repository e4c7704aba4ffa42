import { createRapClient, type RapClient, type Session, type Transfers, type UploadSource } from '@rap/client-sdk'
import { canStartXrdp, type Platform, startPlatform, startXrdp, targetOf, waitFor, type XrdpServer } from '@rap/testkit'
import t, { type Test } from 'tap'
import { RdpClient } from './rdp-client.ts'
import { endless, listDrive, noDriveHere, onDrive, sha256OfEndless, sha256OnDrive } from './session-shell.ts'

const MIB = 2 ** 20
const skip = noDriveHere()
const able = canStartXrdp()

interface Desk {
  readonly session: Session
  readonly transfers: Transfers
  close(): Promise<void>
}

/** A file of the person's machine; `until` holds back everything behind its first MiB. */
function source(seed: string, size: number, until: Promise<void> = Promise.resolve()): UploadSource {
  return {
    name: seed,
    size,
    slice: (start, end) => ({
      async arrayBuffer() {
        if (start >= MIB) await until
        return Uint8Array.from(endless(seed, start, end - start)).buffer
      },
    }),
  }
}

/** Connects a session's desktop, and its transfers once the desktop has the drive. */
async function connect(session: Session): Promise<Desk> {
  const connection = await session.connect()
  const writer = connection.stream.writable.getWriter()
  const client = new RdpClient({ send: bytes => void writer.write(Uint8Array.from(bytes)).catch(() => {}) })
  const reading = (async () => {
    for await (const bytes of connection.stream.readable) client.push(bytes)
  })()
  reading.catch(() => {})
  client.start()
  await waitFor(() => client.isActive, { what: 'the desktop', timeoutMs: 30_000 })
  const transfers = await session.transfers()
  await waitFor(() => transfers.driveMounted, { what: 'the drive to be mounted', timeoutMs: 90_000 })
  return {
    session,
    transfers,
    async close() {
      await transfers.close()
      await connection.close()
    },
  }
}

interface World {
  readonly servers: readonly XrdpServer[]
  readonly platform: Platform
  readonly rap: RapClient
}

async function start(t: Test, desktops: number): Promise<World> {
  const servers = await Promise.all(Array.from({ length: desktops }, () => startXrdp()))
  for (const server of servers) t.teardown(() => server.stop())
  const platform = await startPlatform({
    policy: { channels: ['display', 'input', 'file_upload', 'events'] },
    targets: servers.map((server, index) => {
      const credential = { username: server.username, password: server.password }
      return targetOf(server, { name: `desktop ${index}`, credential, security: 'tls' })
    }),
  })
  t.teardown(() => platform.stop())
  const rap = createRapClient({ baseUrl: platform.apiUrl, trust: { caPem: platform.authority.certificatePem } })
  await rap.login(platform.admin)
  return { servers, platform, rap }
}

t.test('what is uploaded stands in the drive of its session, whole, unchanged and alone', { skip }, async t => {
  const { servers, platform, rap } = await start(t, able.ok && able.parallel ? 2 : 1)
  const [server, neighbour] = servers
  const [resource, other] = platform.resources
  if (server === undefined || resource === undefined) throw new Error('no desktop')
  const desk = await connect(await rap.sessions.start({ resourceId: resource.id }))

  await t.test('200 MB arrive bit for bit, and are not seen before they are whole', async t => {
    const size = 200 * MIB + 17
    let goOn = () => {}
    const until = new Promise<void>(resolve => {
      goOn = resolve
    })
    const uploading = desk.transfers.upload(source('large.bin', size, until))
    await waitFor(() => desk.transfers.items.some(({ offset }) => offset > 0), { what: 'the first bytes' })
    t.same(await listDrive(server), [])
    t.not((await onDrive(server, 'cat large.bin')).status, 0)
    goOn()
    t.same(await uploading, { name: 'large.bin' })
    t.same(await listDrive(server), ['large.bin'])
    t.equal(await sha256OnDrive(server, 'large.bin'), sha256OfEndless('large.bin', size))
  })

  await t.test('a hostile name comes out harmless, and the desktop can read the file', async t => {
    const names: string[] = []
    for (const name of ['..\\..\\evil.txt', '/etc/passwd', 'CON', 'a:b.txt', 'Grüße 你好.pdf', 'LARGE.BIN']) {
      names.push((await desk.transfers.upload(source(name, 1_000))).name)
      t.equal(
        await sha256OnDrive(server, names.at(-1) ?? ''),
        sha256OfEndless(name, 1_000),
        `${name} is ${names.at(-1)}`,
      )
    }
    t.same(await listDrive(server), ['large.bin', ...names].sort())
  })

  await t.test('the desktop cannot change anything, and the audit has it once', async t => {
    const before = await listDrive(server)
    for (const command of [
      'echo x > large.bin',
      'echo x > new.txt',
      'rm -f large.bin',
      'mv large.bin small.bin',
      'mkdir folder',
      'truncate -s 0 large.bin',
    ]) {
      const { status, err } = await onDrive(server, command)
      t.not(status, 0, command)
      t.match(err, /Permission denied/, `${command}: ${err.trim()}`)
    }
    t.same(await listDrive(server), before)
    const query = new URLSearchParams({
      organization_id: platform.organizationId,
      session_id: desk.session.id,
      event: 'channel_data_withheld',
    })
    const rows = async () =>
      (await platform.api.call<{ items: { code: string }[] }>('GET', `/v1/audit-events?${query}`)).items
    await waitFor(async () => (await rows()).length > 0, { what: 'the audit event', timeoutMs: 15_000 })
    t.same(
      (await rows()).map(({ code }) => code),
      ['ERR_DRIVE_READ_ONLY'],
    )
  })

  await t.test('what is taken out is gone from the desktop', async t => {
    const item = desk.transfers.items.find(({ name }) => name === 'large.bin')
    await desk.transfers.remove(item?.upload_id ?? '')
    t.match((await onDrive(server, 'head -c 10 large.bin')).err, /No such file/)
    // xrdp and the kernel list a name that they know until somebody looks for the file in vain, after some seconds.
    await waitFor(
      async () => {
        await onDrive(server, 'ls -l')
        return !(await listDrive(server)).includes('large.bin')
      },
      { what: 'the name to go', timeoutMs: 20_000, intervalMs: 500 },
    )
  })

  await t.test(
    'another session sees nothing of it',
    { skip: other === undefined || neighbour === undefined },
    async t => {
      if (other === undefined || neighbour === undefined) return
      const second = await connect(await rap.sessions.start({ resourceId: other.id }))
      t.same(second.transfers.items, [])
      t.same(await listDrive(neighbour), [])
      await second.transfers.upload(source('second.txt', 10))
      t.same(await listDrive(neighbour), ['second.txt'])
      t.notOk((await listDrive(server)).includes('second.txt'))
      await second.close()
      await second.session.terminate()
    },
  )

  await t.test('after a detach and an attach the files are there again', async t => {
    const before = await listDrive(server)
    await desk.close()
    await desk.session.detach()
    await desk.session.attach()
    const again = await connect(desk.session)
    t.same(await listDrive(server), before)
    t.equal(await sha256OnDrive(server, 'evil.txt'), sha256OfEndless('..\\..\\evil.txt', 1_000))
    await again.close()
    await again.session.terminate()
  })

  await t.test('the next session on the same desktop begins with an empty drive', async t => {
    const next = await connect(await rap.sessions.start({ resourceId: resource.id }))
    t.same(next.transfers.items, [])
    t.same(await listDrive(server), [])
    t.not((await onDrive(server, 'cat evil.txt')).status, 0)
    await next.transfers.upload(source('next.txt', 10))
    t.equal(await sha256OnDrive(server, 'next.txt'), sha256OfEndless('next.txt', 10))
    await next.close()
    await next.session.terminate()
  })
})
