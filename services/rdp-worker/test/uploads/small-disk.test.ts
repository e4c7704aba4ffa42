import { spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '@rap/testkit'
import t, { type Test } from 'tap'
import { Counts, LIMITS, openStores, place, read, send, sha256, upload } from './support.ts'

const MIB = 2 ** 20

const mount = (dir: string) =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'tmpfs', dir], { encoding: 'utf8' })

/** Why no small disk can be had here; false where one can. */
function whyNoDisk(): string | false {
  if (process.getuid?.() !== 0) return 'mounting a small disk needs root'
  const dir = tempDir('rap-store-')
  try {
    const { status, stderr } = mount(dir.path)
    if (status !== 0) return `no disk can be mounted here: ${stderr.trim()}`
    spawnSync('umount', [dir.path])
    return false
  } finally {
    dir.remove()
  }
}

const disks = { skip: whyNoDisk() }

/** A disk of 8 MiB. */
function smallDisk(t: Test): string {
  const dir = join(place(t), 'disk')
  mkdirSync(dir)
  mount(dir)
  t.teardown(() => spawnSync('umount', [dir]))
  return dir
}

/** Somebody else writes until nothing more fits. */
function fill(dir: string): void {
  const file = openSync(join(dir, 'ballast'), 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(4096))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(file)
  }
}

const freeBytes = (dir: string) => {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize
}
const begin = (size: number) => ({ uploadId: randomUUID(), name: 'file.bin', size })

t.test('a file that the disk has no room for is refused when it is announced', disks, async t => {
  const dir = smallDisk(t)
  const stores = await openStores(t, { dir })
  const [one, two] = [stores.of('one'), stores.of('two')]
  await t.rejects(one.begin(begin(9 * MIB), LIMITS), { code: 'ERR_UPLOAD_DISK_FULL' })
  const first = begin(5 * MIB)
  await one.begin(first, LIMITS)
  // Worth a minute of the pace.
  await send(one, first.uploadId, randomBytes(MIB))
  const late = two.begin(begin(3 * MIB + 1), LIMITS)
  await t.rejects(late, { code: 'ERR_UPLOAD_DISK_FULL' }, 'what is under way counts whole')
  await upload(two, { data: randomBytes(2 * MIB) })
})

t.test('what uploads leave free stays free', disks, async t => {
  const dir = smallDisk(t)
  const stores = await openStores(t, { dir, reserveBytes: 3 * MIB })
  const session = stores.of('one')
  await t.rejects(session.begin(begin(5 * MIB + 1), LIMITS), { code: 'ERR_UPLOAD_DISK_FULL' })
  await upload(session, { data: randomBytes(4 * MIB) })
  await t.rejects(session.begin(begin(2 * MIB), LIMITS), { code: 'ERR_UPLOAD_DISK_FULL' })
  t.ok(freeBytes(dir) > 3 * MIB)
})

t.test('what is already on the disk is not counted twice', disks, async t => {
  const stores = await openStores(t, { dir: smallDisk(t) })
  const session = stores.of('one')
  const first = begin(5 * MIB)
  const data = randomBytes(first.size)
  await session.begin(first, LIMITS)
  await send(session, first.uploadId, data.subarray(0, 4 * MIB))
  await upload(session, { data: randomBytes(2 * MIB) })
  await send(session, first.uploadId, data, { from: 4 * MIB })
  t.match(await session.end(first.uploadId, sha256(data)), { name: 'file.bin' })
})

t.test(
  'a disk that somebody fills ends the upload that writes, frees its bytes, and harms no other session',
  disks,
  async t => {
    const dir = smallDisk(t)
    const counts = new Counts()
    const stores = await openStores(t, { dir, counts })
    const [one, two] = [stores.of('one'), stores.of('two')]
    const ready = randomBytes(MIB)
    const readyId = await upload(two, { data: ready })
    const waiting = begin(MIB)
    const waitingData = randomBytes(MIB)
    await two.begin(waiting, LIMITS)
    await send(two, waiting.uploadId, waitingData.subarray(0, MIB / 2))
    const doomed = begin(4 * MIB)
    await one.begin(doomed, LIMITS)
    await send(one, doomed.uploadId, randomBytes(2 * MIB))

    fill(dir)
    t.ok(freeBytes(dir) < 4096)
    const rest = Array.from({ length: 4 }, (_, index) =>
      one.write(doomed.uploadId, 2 * MIB + index * 65_536, randomBytes(65_536)),
    )
    for (const write of rest) await t.rejects(write, { code: 'ERR_UPLOAD_DISK_FULL' })
    t.ok(freeBytes(dir) >= 2 * MIB, 'its bytes are free at once')
    t.same(one.transfers(), [])
    t.same(counts.outcomes, ['ready', 'ERR_UPLOAD_DISK_FULL'])

    t.ok(ready.equals((await read(two, readyId, 0, MIB))!), 'the other session reads')
    await send(two, waiting.uploadId, waitingData, { from: MIB / 2 })
    t.match(await two.end(waiting.uploadId, sha256(waitingData)), { name: 'file (2).bin' }, 'and writes')

    rmSync(join(dir, 'ballast'))
    await upload(one, { data: randomBytes(2 * MIB) })
  },
)

t.test('a session that ends on a full disk leaves room behind', disks, async t => {
  const dir = smallDisk(t)
  const stores = await openStores(t, { dir })
  const free = freeBytes(dir)
  await upload(stores.of('one'), { data: randomBytes(3 * MIB) })
  fill(dir)
  await stores.wipe('one')
  rmSync(join(dir, 'ballast'))
  t.ok(freeBytes(dir) >= free - 64 * 1024)
})
