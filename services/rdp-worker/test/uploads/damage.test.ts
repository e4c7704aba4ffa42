import { randomBytes, randomUUID } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import type { SideMessage } from '@rap/data-plane-protocol'
import t, { type Test } from 'tap'
import { SideChannels, type UploadOutcome } from '../../src/side/side-channels.ts'
import type { SessionUploads } from '../../src/uploads/session-uploads.ts'
import { ask, Counts, filesIn, LIMITS, openStores, place, read, sha256, upload } from './support.ts'

const BLOCK = 65_536
const DATA = randomBytes(3 * BLOCK + 1000)

async function open(t: Test) {
  const dir = place(t)
  const counts = new Counts()
  const stores = await openStores(t, { dir, counts })
  return { dir, counts, stores, session: stores.of('session') }
}

/** Uploads, and says where the file is on the disk. */
async function stored(dir: string, session: SessionUploads, data = DATA): Promise<{ id: string; path: string }> {
  const before = new Set(filesIn(dir))
  const id = await upload(session, { data })
  const [path] = filesIn(dir).filter(file => !before.has(file))
  return { id, path: path! }
}

/** Changes the bytes of a file in place, as somebody does who may write to the directory. */
function rewrite(path: string, change: (bytes: Buffer) => Buffer): void {
  writeFileSync(path, change(readFileSync(path)))
}

function replace(path: string, put: () => void): void {
  rmSync(path)
  put()
}

/** One bit is another. */
function flipped(bytes: Buffer, at: number): Buffer {
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  return bytes
}

/** Exchanges two blocks. */
function swapped(bytes: Buffer): Buffer {
  const [one, two] = [bytes.subarray(0, BLOCK), bytes.subarray(BLOCK, 2 * BLOCK)]
  return Buffer.concat([two, one, bytes.subarray(2 * BLOCK)])
}

t.test('a target never reads what somebody has put into a file on the disk; it is told of damage', async t => {
  const { dir, session, counts } = await open(t)
  const other = readFileSync((await stored(dir, session)).path)
  const attacks: [string, (path: string) => void][] = [
    ['a bit that was flipped', path => rewrite(path, bytes => flipped(bytes, 70_000))],
    ['blocks that changed places', path => rewrite(path, swapped)],
    ['a file that is shorter', path => truncateSync(path, BLOCK + 10)],
    ['an empty file', path => truncateSync(path, 0)],
    ['the bytes of another upload', path => writeFileSync(path, other)],
    ['zeros', path => writeFileSync(path, Buffer.alloc(DATA.length))],
  ]
  for (const [title, attack] of attacks) {
    const { id, path } = await stored(dir, session)
    attack(path)
    t.equal(await ask(session, id, { offset: 60_000, length: 20_000 }), 'damaged', title)
    t.equal(await ask(session, id, { offset: 2 * BLOCK, length: 10 }), 'failed', 'it is gone as a whole')
    t.notOk(session.list().some(file => file.id === id))
    t.notOk(filesIn(dir).includes(path))
  }
  t.same(
    counts.outcomes.filter(outcome => outcome !== 'ready'),
    attacks.map(() => 'ERR_UPLOAD_DAMAGED'),
  )
})

t.test('a file that stands in the place of another one is not read, nor is what a link leads to', async t => {
  const { dir, stores, session } = await open(t)
  const neighbour = stores.of('neighbour')
  const attacks: [string, (path: string) => Promise<void>][] = [
    ['nothing', async path => rmSync(path)],
    ['a link', async path => replace(path, () => symlinkSync('/etc/passwd', path))],
    ['a directory', async path => replace(path, () => mkdirSync(path))],
    ['a file of another session', async path => renameSync((await stored(dir, neighbour)).path, path)],
  ]
  for (const [title, attack] of attacks) {
    const { id, path } = await stored(dir, session)
    await attack(path)
    // The file itself stays open for a while; others push it out.
    const others = await Promise.all(Array.from({ length: 70 }, () => upload(neighbour, { data: Buffer.alloc(1) })))
    t.equal(await ask(session, id, { offset: 0, length: 100 }), 'damaged', title)
    await Promise.all(others.map(other => neighbour.cancel(other)))
    rmSync(path, { recursive: true, force: true })
  }
})

t.test("bytes behind the end of a file are nobody's, and a damaged file harms no other one", async t => {
  const { dir, session } = await open(t)
  const longer = await stored(dir, session)
  appendFileSync(longer.path, randomBytes(BLOCK))
  t.ok(DATA.equals((await read(session, longer.id, 0, DATA.length))!))
  const bent = await stored(dir, session)
  rewrite(bent.path, swapped)
  t.equal(await ask(session, bent.id, { offset: 0, length: 1 }), 'damaged')
  t.ok(DATA.equals((await read(session, longer.id, 0, DATA.length))!))
})

t.test('what is changed before the file is whole is found when it is read', async t => {
  const { dir, session } = await open(t)
  const start = { uploadId: randomUUID(), name: 'file.bin', size: 2 * BLOCK }
  await session.begin(start, LIMITS)
  await session.write(start.uploadId, 0, Buffer.alloc(BLOCK + 10))
  rewrite(filesIn(dir)[0]!, bytes => flipped(bytes, 5))
  await session.write(start.uploadId, BLOCK + 10, Buffer.alloc(BLOCK - 10))
  await session.end(start.uploadId, sha256(Buffer.alloc(2 * BLOCK)))
  t.equal(await ask(session, start.uploadId, { offset: 0, length: 1 }), 'damaged')
})

t.test('the person and the audit hear of a damaged file once, however often the target asks', async t => {
  const { dir, session } = await open(t)
  const heard: SideMessage[] = []
  const outcomes: UploadOutcome[] = []
  const options = {
    uploads: session,
    policy: { channels: ['file_upload', 'events'] as const, limits: LIMITS, endsAt: undefined },
    onActivity: () => undefined,
    nearLimits: () => [],
    onUpload: (outcome: UploadOutcome) => outcomes.push(outcome),
    onError: (error: unknown) => t.fail(String(error)),
  }
  const side = new SideChannels(options)
  t.teardown(() => side.close())
  const port = { send: (message: SideMessage) => heard.push(message), waitingBytes: () => 0, released: () => undefined }
  side.bind(port, ['file_upload'])
  const { id, path } = await stored(dir, session)
  rewrite(path, swapped)
  const reads = [0, 1, 2].map(() => ask(session, id, { offset: 0, length: 10 }))
  t.ok((await Promise.all(reads)).every(result => typeof result === 'string'))
  const refusals = heard.filter(({ type }) => type === 'upload_refused')
  t.match(refusals, [{ upload_id: id, code: 'ERR_UPLOAD_DAMAGED' }])
  t.equal(refusals.length, 1)
  t.same(outcomes, [{ code: 'ERR_UPLOAD_DAMAGED', size: 0 }])
})
