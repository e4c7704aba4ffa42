import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import {
  type DriveFile,
  type DriveFiles,
  decodeX224ConnectionConfirm,
  encodeX224ConnectionRequest,
  PROTOCOL,
  RdpRelay,
  type ReadResult,
  type RelayEvent,
} from '@rap/rdp'
import { canStartXrdp, startXrdp, waitFor, type XrdpServer } from '@rap/testkit'
import t, { type Test } from 'tap'
import { RdpClient } from './rdp-client.ts'
import { endless, listDrive, noDriveHere, onDrive, sha256OfEndless, sha256OnDrive } from './session-shell.ts'

const POLICY = { renderQualityProfile: 'low', clipboardBytes: 1024 } as const

const skip = noDriveHere()
const able = canStartXrdp()

class Files implements DriveFiles {
  files: DriveFile[]
  /** Largest number of reads that were under way at once. */
  mostReads = 0
  #reads = 0

  constructor(files: readonly DriveFile[]) {
    this.files = [...files]
  }

  list(): readonly DriveFile[] {
    return this.files
  }

  read({ id }: DriveFile, offset: number, length: number, done: (result: ReadResult) => void): void {
    this.#reads++
    this.mostReads = Math.max(this.mostReads, this.#reads)
    setImmediate(() => {
      this.#reads--
      done(endless(id, offset, length))
    })
  }
}

interface Desk {
  readonly events: readonly RelayEvent[]
  readonly relay: RdpRelay
  close(): void
}

/** Logs on to the server through a relay with a drive; the client asks for no channel at all. */
async function logOn(server: XrdpServer, files: DriveFiles): Promise<Desk> {
  const plain = net.connect(server.port, server.host)
  await once(plain, 'connect')
  plain.write(encodeX224ConnectionRequest({ negotiation: { flags: 0, requestedProtocols: PROTOCOL.SSL } }))
  const [confirm] = (await once(plain, 'data')) as [Buffer]
  if (decodeX224ConnectionConfirm(confirm).negotiation?.type !== 'response') throw new Error('no TLS')
  const target = tls.connect({ socket: plain, rejectUnauthorized: false })
  await once(target, 'secureConnect')
  const events: RelayEvent[] = []
  const client = new RdpClient({ send: bytes => relay.fromClient(bytes) })
  const relay = new RdpRelay(
    {
      targetSelectedProtocol: PROTOCOL.SSL,
      targetRequestedProtocols: PROTOCOL.SSL,
      clientRequestedProtocols: PROTOCOL.SSL,
      credentials: { username: server.username, domain: '', password: Buffer.from(server.password, 'utf16le') },
      policy: { ...POLICY, channels: new Set(['display', 'input', 'file_upload'] as const) },
      drive: files,
    },
    {
      // The sink must not call back into the relay.
      toClient: bytes => {
        const copy = Buffer.from(bytes)
        queueMicrotask(() => client.push(copy))
      },
      toServer: bytes => target.write(Buffer.from(bytes)),
      event: event => events.push(event),
    },
  )
  target.on('data', bytes => relay.fromServer(bytes))
  target.on('error', () => {})
  client.start()
  await waitFor(() => client.isActive, { what: 'the desktop', timeoutMs: 30_000 })
  return { events, relay, close: () => target.destroy() }
}

const file = (id: string, name: string, size: number): DriveFile => ({
  id,
  name,
  size,
  modifiedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
})

async function desk(t: Test, files: DriveFiles): Promise<{ server: XrdpServer; desk: Desk }> {
  const server = await startXrdp()
  t.teardown(() => server.stop())
  const desk = await logOn(server, files)
  t.teardown(() => desk.close())
  await waitFor(() => desk.events.some(event => event.type === 'drive' && event.mounted), {
    what: 'the drive to be mounted',
    timeoutMs: 30_000,
  }).catch(error => {
    throw new Error(`${error.message}\n${JSON.stringify(desk.events)}\n${server.log()}`)
  })
  return { server, desk }
}

t.test('xrdp mounts the drive, lists and reads its files, and can change nothing', { skip }, async t => {
  const small = file('a', 'notes.txt', 1_000)
  const empty = file('b', 'empty', 0)
  const named = file('c', 'Grüße aus Köln (1).pdf', 70_001)
  const big = file('d', 'big.bin', 200 * 1024 * 1024 + 17)
  const files = new Files([small, empty, named, big])
  const { server, desk: opened } = await desk(t, files)

  const names = () => files.files.map(({ name }) => name).sort()
  const listing = () => listDrive(server)
  t.same(await listing(), names())
  const stat = await onDrive(server, `stat -c '%s %Y' ${small.name}`)
  t.equal(stat.out.trim(), `1000 ${small.modifiedAt / 1000}`)

  await t.test('what is read is what is there, bit for bit', async t => {
    for (const one of [small, empty, named, big]) {
      t.equal(await sha256OnDrive(server, one.name), sha256OfEndless(one.id, one.size), one.name)
    }
    const middle = await onDrive(server, `tail -c +100000001 ${big.name} | head -c 5000 | sha256sum`)
    const expected = createHash('sha256')
      .update(endless('d', 100_000_000, 5_000))
      .digest('hex')
    t.equal(middle.out.split(' ')[0], expected)
    t.equal(files.mostReads, 1, 'one read at a time')
    t.same(
      await Promise.all([small, named].map(({ name }) => sha256OnDrive(server, name))),
      [small, named].map(({ id, size }) => sha256OfEndless(id, size)),
      'two files at once',
    )
  })

  await t.test('each change fails with an error that says why, and changes nothing', async t => {
    const denied = /Permission denied/
    const attempts: readonly [command: string, error: RegExp][] = [
      ['echo x > notes.txt', denied],
      ['echo x >> notes.txt', denied],
      ['echo x > new.txt', denied],
      ['cp /etc/hostname new.txt', denied],
      ['rm -f notes.txt', denied],
      ['mv notes.txt other.txt', denied],
      ['mv notes.txt empty', denied],
      ['mkdir folder', denied],
      ['truncate -s 5 notes.txt', denied],
      ['chmod 777 notes.txt', denied],
      ['touch -d 2001-01-01 notes.txt', denied],
      ['touch new.txt', denied],
      ['dd if=/dev/zero of=notes.txt bs=100000 count=3 conv=notrunc', denied],
      ['ln -s /etc/passwd link', /./],
      ['ln notes.txt hard', /./],
    ]
    for (const [command, error] of attempts) {
      const { status, err } = await onDrive(server, command)
      t.not(status, 0, command)
      t.match(err, error, `${command}: ${err.trim()}`)
    }
    t.same(await listing(), names())
    t.equal(await sha256OnDrive(server, small.name), sha256OfEndless(small.id, small.size))
    const told = opened.events.filter(event => event.type === 'withheld' && event.channel === 'rdpdr')
    t.match(told, [{ direction: 'server_to_client', code: 'ERR_DRIVE_READ_ONLY' }])
  })

  await t.test('names that lead elsewhere lead nowhere', async t => {
    for (const path of ['../../.bash_history', 'nothing', 'notes.txt/x', 'notes.txt:s', "'notes.txt '", 'notes.txt.']) {
      const { status, out } = await onDrive(server, `cat ${path}`)
      t.not(status, 0, path)
      t.equal(out, '')
    }
  })

  await t.test('a file that comes is seen, and one that goes is gone', async t => {
    const late = file('e', 'late.txt', 12)
    files.files = [...files.files, late]
    opened.relay.driveChanged()
    t.same(await listing(), names())
    t.equal(await sha256OnDrive(server, late.name), sha256OfEndless(late.id, late.size))
    files.files = files.files.filter(({ id }) => id !== 'a')
    opened.relay.driveChanged()
    t.not((await onDrive(server, 'cat notes.txt')).status, 0)
  })

  await t.test('a policy without file_upload takes the drive away', async t => {
    opened.relay.setPolicy({ ...POLICY, channels: new Set(['display', 'input'] as const) })
    await waitFor(() => opened.events.some(event => event.type === 'drive' && !event.mounted), { what: 'the end' })
    // The kernel believes for a moment that the folder is still there, but nothing of it can be read.
    const { status, out } = await onDrive(server, 'cat late.txt')
    t.not(status, 0)
    t.equal(out, '')
    await waitFor(async () => (await onDrive(server, 'true')).status !== 0, { what: 'the folder to go' })
  })
})

t.test('another session sees nothing of the first', { skip: skip || (able.ok && !able.parallel) }, async t => {
  const secret = file('s', 'secret.txt', 10)
  const [one, other] = await Promise.all([desk(t, new Files([secret])), desk(t, new Files([]))])
  t.same(await listDrive(one.server), ['secret.txt'])
  t.same(await listDrive(other.server), [])
  t.not((await onDrive(other.server, 'cat secret.txt')).status, 0)
})
