import { randomBytes, randomUUID } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createMetrics } from '@rap/service-kit'
import t from 'tap'
import { WorkerMetrics } from '../../src/worker-metrics.ts'
import { LIMITS, openStores, place, read, send, upload } from './support.ts'

const begin = (size: number) => ({ uploadId: randomUUID(), name: 'file.bin', size })

t.test('the end of a session takes everything of it, and nothing of another one', async t => {
  const dir = place(t)
  const stores = await openStores(t, { dir })
  const [one, two] = [stores.of('one'), stores.of('two')]
  const data = randomBytes(1000)
  const gone = await upload(one, { data })
  const stays = await upload(two, { data })
  await one.begin(begin(5000), LIMITS)
  const [file] = one.list()
  t.same(stores.sessionIds(), ['one', 'two'])
  await stores.wipe('one')
  await stores.wipe('one')
  t.same(stores.sessionIds(), ['two'])
  t.equal(await new Promise(resolve => one.read(file!, 0, 10, resolve)), 'failed')
  t.equal(await read(one, gone, 0, 10), undefined)
  await t.rejects(one.begin(begin(1), LIMITS), { code: 'ERR_UPLOAD_FAILED' })
  t.ok(data.equals((await read(two, stays, 0, 1000))!))
  t.equal(stores.storedBytes, 1000)
  t.equal(readdirSync(join(dir, readdirSync(dir)[0]!)).length, 1, 'one directory is left')
  t.same(stores.of('one').transfers(), [], 'a session of that id begins anew')
})

t.test('a session that ends while bytes come in leaves none of them', async t => {
  const dir = place(t)
  const stores = await openStores(t, { dir })
  for (let round = 0; round < 10; round++) {
    const session = stores.of('session')
    const start = begin(1_000_000)
    await session.begin(start, LIMITS)
    const work = Promise.allSettled([
      send(session, start.uploadId, randomBytes(1_000_000), { piece: 20_000 }),
      session.begin(begin(1000), LIMITS),
    ])
    if (round % 2 === 1) await new Promise(resolve => setImmediate(resolve))
    await stores.wipe('session')
    t.match(await work, [{ reason: { code: 'ERR_UPLOAD_FAILED' } }, {}])
    t.equal(stores.storedBytes, 0)
    t.same(readdirSync(join(dir, readdirSync(dir)[0]!)), [])
  }
})

t.test('the end of the process takes everything, and lets nothing in any more', async t => {
  const dir = place(t)
  const stores = await openStores(t, { dir })
  await upload(stores.of('one'))
  void stores.wipe('one')
  await upload(stores.of('two'))
  await stores.wipeAll()
  t.same(readdirSync(dir), [])
  t.same(stores.sessionIds(), [])
  await t.rejects(stores.of('three').begin(begin(1), LIMITS), { code: 'ERR_UPLOAD_FAILED' })
  t.same(readdirSync(dir), [])
})

t.test('a start wipes what a crash of this worker has left, and nothing else', async t => {
  const dir = place(t)
  const workerId = randomUUID()
  const crashed = await openStores(t, { dir, workerId })
  await upload(crashed.of('one'))
  const neighbour = await openStores(t, { dir })
  const id = await upload(neighbour.of('two'))
  writeFileSync(join(dir, `rap-uploads-${workerId}-file`), 'no directory')
  const elsewhere = place(t)
  writeFileSync(join(elsewhere, 'keep'), '')
  symlinkSync(elsewhere, join(dir, `rap-uploads-${workerId}-link`))
  const [left] = readdirSync(dir).filter(name => name.includes(workerId) && lstatSync(join(dir, name)).isDirectory())
  await openStores(t, { dir, workerId })
  t.notOk(existsSync(join(dir, left!)))
  t.ok(existsSync(join(elsewhere, 'keep')), 'no link is followed')
  t.equal((await read(neighbour.of('two'), id, 0, 1000))?.length, 1000)
})

t.test('a directory that is not there is made for this account alone', async t => {
  const dir = join(place(t), 'var', 'uploads')
  await openStores(t, { dir })
  t.equal(statSync(dir).mode & 0o777, 0o700)
})

t.test('a directory that others may write to, or that is none, is refused with its path', async t => {
  const parent = place(t)
  const make = (name: string, mode: number) => {
    const path = join(parent, name)
    mkdirSync(path)
    chmodSync(path, mode)
    return path
  }
  const file = join(parent, 'file')
  writeFileSync(file, '')
  const link = join(parent, 'link')
  symlinkSync(make('real', 0o700), link)
  for (const dir of [
    make('group', 0o770),
    make('others', 0o703),
    make('sticky', 0o1777),
    file,
    link,
    join(file, 'below'),
  ]) {
    await t.rejects(openStores(t, { dir }), { code: 'ERR_UPLOAD_DIR', message: new RegExp(dir) }, dir)
  }
  await openStores(t, { dir: make('readable', 0o755) })
})

t.test('all sessions together have the room of the worker, from the announcement on', async t => {
  const stores = await openStores(t, { dir: place(t), maxBytes: 10_000_000 })
  const [one, two] = [stores.of('one'), stores.of('two')]
  const first = begin(6_000_000)
  await one.begin(first, LIMITS)
  // Worth a minute of the pace.
  await send(one, first.uploadId, randomBytes(1_000_000))
  await t.rejects(two.begin(begin(4_000_001), LIMITS), { code: 'ERR_UPLOAD_DISK_FULL' })
  await upload(two, { data: randomBytes(4_000_000) })
  await t.rejects(two.begin(begin(1), LIMITS), { code: 'ERR_UPLOAD_DISK_FULL' })
  await stores.wipe('one')
  await two.begin(begin(6_000_000), LIMITS)
})

t.test('a session that announces all that there is, and sends nothing, shuts nobody out', async t => {
  const stores = await openStores(t, { dir: place(t), maxBytes: 200_000 })
  const [hoarder, other] = [stores.of('one'), stores.of('two')]
  const idle = [begin(100_000), begin(100_000)]
  for (const start of idle) await hoarder.begin(start, LIMITS)
  const id = await upload(other, { data: randomBytes(150_000) })
  t.equal((await read(other, id, 0, 10))?.length, 10)
  t.equal(hoarder.transfers().length, 2, 'what it announced is still known')
  const first = hoarder.write(idle[0]!.uploadId, 0, randomBytes(10))
  await t.rejects(first, { code: 'ERR_UPLOAD_DISK_FULL' }, 'and has no room any more')
  await t.rejects(hoarder.begin(idle[1]!, LIMITS), { code: 'ERR_UPLOAD_DISK_FULL' }, 'which a begin says too')
  t.same(hoarder.transfers(), [])
  await upload(hoarder, { data: randomBytes(50_000) })
})

t.test('a thousand uploads hold few files open', async t => {
  const dir = place(t)
  const stores = await openStores(t, { dir })
  const session = stores.of('one')
  const starts = Array.from({ length: 1000 }, () => begin(200))
  await Promise.all(starts.map(start => session.begin(start, LIMITS)))
  const first = Promise.all(starts.map(({ uploadId }) => session.write(uploadId, 0, randomBytes(100))))
  await first
  await Promise.all(starts.map(({ uploadId }) => session.write(uploadId, 100, randomBytes(100))))
  const open = readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(dir)
    } catch {
      return false
    }
  })
  t.ok(open.length <= 64, `${open.length} are open`)
  t.ok(session.transfers().every(({ offset }) => offset === 200))
  await t.rejects(session.begin(begin(1), LIMITS), { code: 'ERR_UPLOAD_TOO_MANY' })
})

t.test('a directory that somebody removes fails uploads, and nothing else', async t => {
  const dir = place(t)
  const stores = await openStores(t, { dir })
  rmSync(dir, { recursive: true })
  await t.rejects(stores.of('one').begin(begin(1), LIMITS), { code: 'ERR_UPLOAD_FAILED' })
  t.same(stores.of('one').transfers(), [])
  t.equal(stores.storedBytes, 0)
})

t.test('bytes and outcomes of uploads are in the metrics of the worker', async t => {
  const metrics = createMetrics({ service: 'rdp-worker' })
  const counts = new WorkerMetrics(metrics)
  const stores = await openStores(t, { dir: place(t), counts })
  counts.watchUploads(stores)
  const session = stores.of('one')
  await upload(session, { data: randomBytes(1000) })
  await t.rejects(session.begin({ ...begin(1), name: '..' }, LIMITS), { code: 'ERR_UPLOAD_NAME' })
  const text = await metrics.registry.metrics()
  t.match(text, /^rap_worker_upload_bytes_total(\{.*\})? 1000$/m)
  t.match(text, /^rap_worker_upload_stored_bytes(\{.*\})? 1000$/m)
  t.match(text, /^rap_worker_uploads_total\{.*outcome="ready".*\} 1$/m)
  t.match(text, /^rap_worker_uploads_total\{.*outcome="ERR_UPLOAD_NAME".*\} 1$/m)
})
