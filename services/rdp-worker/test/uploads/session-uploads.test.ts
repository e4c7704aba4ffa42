import { randomBytes, randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { SessionLimits } from '@rap/session-policy'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Counts, filesIn, LIMITS, openStores, place, read, send, sha256, upload } from './support.ts'

async function open(t: Test) {
  const dir = place(t)
  const counts = new Counts()
  const stores = await openStores(t, { dir, counts })
  return { dir, counts, stores, session: stores.of('session') }
}

const begin = (size: number, name = 'file.bin') => ({ uploadId: randomUUID(), name, size })
const limits = (changes: Partial<SessionLimits>): SessionLimits => ({ ...LIMITS, ...changes })

t.test('a file comes out bit for bit, however it is cut and wherever it is read', async t => {
  const { session } = await open(t)
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 1, max: 700 }),
      fc.nat(3000),
      fc.nat(3000),
      async (bytes, piece, from, to) => {
        const data = Buffer.from(bytes)
        const id = await upload(session, { data, piece })
        const offset = Math.min(from, data.length)
        const end = Math.max(offset, Math.min(to, data.length))
        const range = await read(session, id, offset, end - offset)
        const whole = await read(session, id, 0, data.length)
        await session.cancel(id)
        t.ok(range !== undefined && data.subarray(offset, end).equals(range))
        t.ok(whole !== undefined && data.equals(whole))
      },
    ),
    { numRuns: 60 },
  )
})

t.test('the bytes of a message may be used again as soon as write has returned', async t => {
  const { session } = await open(t)
  const data = randomBytes(50_000)
  const start = begin(data.length)
  await session.begin(start, LIMITS)
  const shared = Buffer.alloc(10_000)
  const writes: Promise<unknown>[] = []
  for (let offset = 0; offset < data.length; offset += shared.length) {
    data.copy(shared, 0, offset)
    writes.push(session.write(start.uploadId, offset, shared))
    shared.fill(0)
  }
  await Promise.all(writes)
  t.match(await session.end(start.uploadId, sha256(data)), { name: 'file.bin' })
})

t.test('the disk shows neither content nor name, and nobody else may read it', async t => {
  const { dir, session } = await open(t)
  const data = Buffer.from('the same canary again and again\n'.repeat(500))
  await upload(session, { name: 'salaries.xlsx', data })
  await upload(session, { name: 'salaries copy.xlsx', data })
  const [first, second, ...more] = filesIn(dir)
  t.same(more, [])
  for (const path of [first!, second!]) {
    const bytes = readFileSync(path)
    t.equal(bytes.length, data.length)
    t.notOk(bytes.includes('canary'))
    t.notMatch(path.slice(dir.length), /salaries|session/)
    t.equal(statSync(path).mode & 0o777, 0o600)
    t.equal(statSync(join(path, '..')).mode & 0o777, 0o700)
    t.equal(statSync(join(path, '../..')).mode & 0o777, 0o700)
  }
  t.notOk(readFileSync(first!).equals(readFileSync(second!)), 'no two files have one keystream')
})

t.test('an interrupted upload goes on where the worker has it', async t => {
  const { session } = await open(t)
  const data = randomBytes(200_000)
  const start = begin(data.length)
  t.same(await session.begin(start, LIMITS), { offset: 0 })
  await send(session, start.uploadId, data.subarray(0, 130_000))
  t.same(await session.begin(start, LIMITS), { offset: 130_000 })
  await send(session, start.uploadId, data, { from: 130_000 })
  t.match(await session.end(start.uploadId, sha256(data)), { name: 'file.bin' })
  t.ok(data.equals((await read(session, start.uploadId, 0, data.length))!))
})

t.test('a begin counts in what the older connection has just sent', async t => {
  const { session } = await open(t)
  const data = randomBytes(300_000)
  const start = begin(data.length)
  await session.begin(start, LIMITS)
  const older = send(session, start.uploadId, data.subarray(0, 250_000))
  t.same(await session.begin(start, LIMITS), { offset: 250_000 })
  await older
})

t.test('the newer connection has the upload; the older one is told so, and harms nothing', async t => {
  const { session } = await open(t)
  const [older, newer] = [{}, {}]
  const data = randomBytes(3000)
  const start = begin(data.length)
  const { uploadId } = start
  await session.begin(start, LIMITS, older)
  await session.write(uploadId, 0, data.subarray(0, 1000), older)
  await session.begin(start, LIMITS, newer)
  await t.rejects(session.write(uploadId, 1000, randomBytes(1000), older), { code: 'ERR_UPLOAD_CONFLICT' })
  await t.rejects(session.end(uploadId, sha256(data), older), { code: 'ERR_UPLOAD_CONFLICT' })
  await session.write(uploadId, 1000, data.subarray(1000), newer)
  t.match(await session.end(uploadId, sha256(data), newer), { name: 'file.bin' })
})

t.test('a client that missed the end of its upload begins and ends it again, and has its answer', async t => {
  const { session, counts } = await open(t)
  const data = randomBytes(1000)
  const start = begin(data.length)
  await session.begin(start, LIMITS)
  await send(session, start.uploadId, data)
  const twice = [session.end(start.uploadId, sha256(data)), session.end(start.uploadId, sha256(data))]
  const file = { name: 'file.bin', size: 1000 }
  t.same(await Promise.all(twice), [
    { ...file, isNew: true },
    { ...file, isNew: false },
  ])
  t.same(await session.begin(start, LIMITS), { offset: 1000 })
  t.same(await session.end(start.uploadId, sha256(data)), { ...file, isNew: false })
  await t.rejects(session.end(start.uploadId, sha256(randomBytes(9))), { code: 'ERR_UPLOAD_CONFLICT' })
  await t.rejects(session.write(start.uploadId, 1000, randomBytes(1)), { code: 'ERR_UPLOAD_OFFSET' })
  t.equal(session.list().length, 1)
  t.same(counts.outcomes.filter(outcome => outcome === 'ready').length, 1)
})

t.test('an id is of one file: another name or size under it is refused, and the first goes on', async t => {
  const { session } = await open(t)
  const data = randomBytes(100)
  const start = begin(100)
  await session.begin(start, LIMITS)
  for (const other of [
    { ...start, size: 101 },
    { ...start, name: 'other.bin' },
  ]) {
    await t.rejects(session.begin(other, LIMITS), { code: 'ERR_UPLOAD_CONFLICT' })
  }
  await send(session, start.uploadId, data)
  await session.end(start.uploadId, sha256(data))
})

t.test(
  'bytes are only ever appended: a hole or a second text over the first one changes nothing on the disk',
  async t => {
    const { dir, session } = await open(t)
    const data = randomBytes(2000)
    const start = begin(data.length)
    await session.begin(start, LIMITS)
    await session.write(start.uploadId, 0, data.subarray(0, 1000))
    const [path] = filesIn(dir)
    const before = readFileSync(path!)
    for (const offset of [0, 1, 999, 1001, 2000, 2 ** 40]) {
      await t.rejects(
        session.write(start.uploadId, offset, Buffer.alloc(500)),
        { code: 'ERR_UPLOAD_OFFSET' },
        `${offset}`,
      )
    }
    t.ok(before.equals(readFileSync(path!)))
    await session.write(start.uploadId, 1000, data.subarray(1000))
    await session.end(start.uploadId, sha256(data))
  },
)

t.test('an end that comes too early is refused, and the upload goes on', async t => {
  const { session } = await open(t)
  const data = randomBytes(2000)
  const start = begin(data.length)
  await session.begin(start, LIMITS)
  await session.write(start.uploadId, 0, data.subarray(0, 1000))
  await t.rejects(session.end(start.uploadId, sha256(data.subarray(0, 1000))), { code: 'ERR_UPLOAD_OFFSET' })
  await session.write(start.uploadId, 1000, data.subarray(1000))
  await session.end(start.uploadId, sha256(data))
})

t.test('what is not what was sent, or more than was announced, is gone with its bytes', async t => {
  const { dir, session, stores, counts } = await open(t)
  const bent = begin(1000)
  await session.begin(bent, LIMITS)
  await send(session, bent.uploadId, randomBytes(1000))
  const ends = [session.end(bent.uploadId, sha256(randomBytes(9))), session.end(bent.uploadId, sha256(randomBytes(9)))]
  for (const end of ends) await t.rejects(end, { code: 'ERR_UPLOAD_HASH_MISMATCH' })
  const grown = begin(1000)
  await session.begin(grown, LIMITS)
  await session.write(grown.uploadId, 0, randomBytes(999))
  await t.rejects(session.write(grown.uploadId, 999, randomBytes(2)), { code: 'ERR_UPLOAD_HASH_MISMATCH' })
  t.same(filesIn(dir), [])
  t.same(session.transfers(), [])
  t.equal(stores.storedBytes, 0)
  t.same(counts.outcomes, ['ERR_UPLOAD_HASH_MISMATCH', 'ERR_UPLOAD_HASH_MISMATCH'])
  t.same(await session.begin(bent, LIMITS), { offset: 0 }, 'its id may be used again')
})

t.test('an empty file is a file', async t => {
  const { session } = await open(t)
  const id = await upload(session, { name: 'empty.txt', data: Buffer.alloc(0) })
  t.match(session.list(), [{ id, name: 'empty.txt', size: 0 }])
  t.equal((await read(session, id, 0, 0))?.length, 0)
})

t.test('each limit holds at its edge, before a byte is sent', async t => {
  const { dir, session } = await open(t)
  await upload(session, { data: randomBytes(100) })
  const cases: [string, Partial<SessionLimits>, { size: number; name?: string }, string | undefined][] = [
    ['the largest file', { upload_file_bytes: 50 }, { size: 50 }, undefined],
    ['a byte more', { upload_file_bytes: 50 }, { size: 51 }, 'ERR_UPLOAD_FILE_TOO_LARGE'],
    ['what is left of the session', { upload_session_bytes: 150 }, { size: 50 }, undefined],
    ['a byte more', { upload_session_bytes: 150 }, { size: 51 }, 'ERR_UPLOAD_QUOTA'],
    ['the last file', { upload_files: 2 }, { size: 1 }, undefined],
    ['one file more', { upload_files: 1 }, { size: 0 }, 'ERR_UPLOAD_TOO_MANY'],
    ['an extension of the list', { upload_extensions: ['pdf'] }, { size: 1, name: 'a.PDF' }, undefined],
    ['another extension', { upload_extensions: ['pdf'] }, { size: 1, name: 'a.exe' }, 'ERR_UPLOAD_EXTENSION'],
    ['none at all', { upload_extensions: ['pdf'] }, { size: 1, name: 'pdf' }, 'ERR_UPLOAD_EXTENSION'],
    ['none, where that may be', { upload_extensions: [''] }, { size: 1, name: 'Makefile' }, undefined],
    ['an empty list', { upload_extensions: [] }, { size: 1 }, 'ERR_UPLOAD_EXTENSION'],
    ['dots behind it', { upload_extensions: ['pdf'] }, { size: 1, name: 'a.exe.' }, 'ERR_UPLOAD_EXTENSION'],
    ['turned text', { upload_extensions: ['pdf'] }, { size: 1, name: 'a\u202efdp.exe' }, 'ERR_UPLOAD_EXTENSION'],
    ['an alternate stream', { upload_extensions: ['pdf'] }, { size: 1, name: 'a.exe:.pdf' }, undefined],
    ['no name', {}, { size: 1, name: '..' }, 'ERR_UPLOAD_NAME'],
  ]
  for (const [title, changes, { size, name }, code] of cases) {
    const start = begin(size, name)
    const answer = session.begin(start, limits(changes))
    if (code === undefined) {
      t.same(await answer, { offset: 0 }, title)
      await session.cancel(start.uploadId)
    } else await t.rejects(answer, { code }, title)
    t.equal(filesIn(dir).length, 1, 'nothing is left of it')
  }
})

t.test('announced bytes count from the begin, and until the upload is given up', async t => {
  const { session } = await open(t)
  const quota = limits({ upload_session_bytes: 1000 })
  const stale = begin(900)
  await session.begin(stale, quota)
  await t.rejects(session.begin(begin(101), quota), { code: 'ERR_UPLOAD_QUOTA' })
  const together = await Promise.allSettled([1, 2, 3].map(() => session.begin(begin(60), quota)))
  t.same(together.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected'])
  await session.cancel(stale.uploadId)
  await session.begin(begin(900), quota)
})

t.test(
  'a policy that becomes narrower ends what is under way with its next message, and leaves what is ready',
  async t => {
    const { session, stores } = await open(t)
    const ready = await upload(session, { name: 'ready.exe' })
    const cases: [Partial<SessionLimits>, string][] = [
      [{ upload_file_bytes: 10 }, 'ERR_UPLOAD_FILE_TOO_LARGE'],
      [{ upload_extensions: ['pdf'] }, 'ERR_UPLOAD_EXTENSION'],
      [{ upload_session_bytes: 1050 }, 'ERR_UPLOAD_QUOTA'],
    ]
    for (const [changes, code] of cases) {
      const messages: ((id: string) => Promise<unknown>)[] = [
        (id: string) => session.write(id, 100, randomBytes(100)),
        (id: string) => session.end(id, sha256(randomBytes(1))),
        (id: string) => session.begin({ uploadId: id, name: 'file.bin', size: 1000 }, limits(changes)),
      ]
      for (const message of messages) {
        const start = begin(1000)
        await session.begin(start, LIMITS)
        await session.write(start.uploadId, 0, randomBytes(100))
        session.setLimits(limits(changes))
        await t.rejects(message(start.uploadId), { code }, code)
        await t.rejects(session.write(start.uploadId, 100, randomBytes(100)), { code: 'ERR_UPLOAD_UNKNOWN' })
      }
    }
    t.same(
      session.list().map(({ id }) => id),
      [ready],
    )
    t.equal(stores.storedBytes, 1000)
  },
)

t.test('a cancel takes an upload away whatever it is doing', async t => {
  const { dir, session, stores } = await open(t)
  const under = begin(500_000)
  await session.begin(under, LIMITS)
  const writes = Promise.allSettled([send(session, under.uploadId, randomBytes(400_000))])
  await session.cancel(under.uploadId)
  t.match(await writes, [{ reason: { code: 'ERR_UPLOAD_CANCELLED' } }])

  const ending = begin(1000)
  await session.begin(ending, LIMITS)
  const data = randomBytes(1000)
  const sent = send(session, ending.uploadId, data).catch(() => undefined)
  const ends = Promise.allSettled([session.end(ending.uploadId, sha256(data))])
  await session.cancel(ending.uploadId)
  t.match(await ends, [{ status: 'rejected', reason: { code: 'ERR_UPLOAD_CANCELLED' } }])
  await sent

  const early = begin(10)
  const began = session.begin(early, LIMITS)
  await session.cancel(early.uploadId)
  t.same(await began, { offset: 0 }, 'a cancel right behind its begin')

  const ready = await upload(session)
  await session.cancel(ready)
  t.equal(await read(session, ready, 0, 1), undefined)
  await t.rejects(session.cancel(ready), { code: 'ERR_UPLOAD_UNKNOWN' })

  t.same(session.transfers(), [])
  t.same(filesIn(dir), [])
  t.equal(stores.storedBytes, 0)
})

t.test('several uploads at once keep apart', async t => {
  const { session } = await open(t)
  const files = Array.from({ length: 20 }, () => randomBytes(100_000))
  const ids = await Promise.all(files.map(data => upload(session, { data, piece: 7000 })))
  for (const [index, id] of ids.entries()) {
    t.ok(files[index]!.equals((await read(session, id, 0, 100_000))!))
  }
  t.equal(new Set(session.list().map(({ name }) => name)).size, 20)
})

t.test('names that are one to Windows are told apart, and free again after a cancel', async t => {
  const { session } = await open(t)
  const first = await upload(session, { name: 'Report.pdf' })
  await upload(session, { name: 'C:\\files\\report.PDF' })
  t.same(
    session.transfers().map(({ name }) => name),
    ['Report.pdf', 'report (2).PDF'],
  )
  await session.cancel(first)
  await upload(session, { name: 'REPORT.pdf' })
  t.same(
    session.list().map(({ name }) => name),
    ['report (2).PDF', 'REPORT.pdf'],
  )
})

t.test('every change but progress is told', async t => {
  const { session } = await open(t)
  const seen: string[][] = []
  const stop = session.onChange(() => seen.push(session.transfers().map(({ state, name }) => `${name} ${state}`)))
  const data = randomBytes(2000)
  const start = begin(data.length, 'a')
  await session.begin(start, LIMITS)
  await send(session, start.uploadId, data, { piece: 10 })
  await session.end(start.uploadId, sha256(data))
  await session.begin(begin(1, 'b'), LIMITS)
  await session.cancel(start.uploadId)
  t.same(seen, [['a receiving'], ['a ready'], ['a ready', 'b receiving'], ['b receiving']])
  stop()
  await session.begin(begin(1, 'c'), LIMITS)
  t.equal(seen.length, 4)
})

t.test('only finished files of this session are shown, and only within their bounds', async t => {
  const { session, stores } = await open(t)
  const other = stores.of('other')
  const foreign = await upload(other)
  const receiving = begin(1000)
  await session.begin(receiving, LIMITS)
  await session.write(receiving.uploadId, 0, randomBytes(500))
  t.same(session.list(), [])
  t.equal(await read(session, receiving.uploadId, 0, 10), undefined)
  t.equal(await read(session, foreign, 0, 10), undefined)
  await session.cancel(receiving.uploadId)
  const id = await upload(session, { data: randomBytes(1000) })
  for (const [offset, length] of [
    [0, 1001],
    [1000, 1],
    [-1, 1],
    [2 ** 52, 1],
    [0, -1],
    [0.5, 1],
  ]) {
    t.equal(await read(session, id, offset!, length!), undefined, `${offset} ${length}`)
  }
})

t.test('bytes and ends are counted', async t => {
  const { session, counts } = await open(t)
  await upload(session, { data: randomBytes(1000) })
  await t.rejects(session.write(randomUUID(), 0, randomBytes(10)), { code: 'ERR_UPLOAD_UNKNOWN' })
  const start = begin(10)
  await session.begin(start, LIMITS)
  await session.cancel(start.uploadId)
  t.equal(counts.bytes, 1000)
  t.same(counts.outcomes, ['ready', 'ERR_UPLOAD_UNKNOWN', 'ERR_UPLOAD_CANCELLED'])
})
