import fc from 'fast-check'
import t, { type Test } from 'tap'
import { type Reservation, Room } from '../../src/uploads/room.ts'
import { place } from './support.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
const MINUTE = 60_000
const FULL = { code: 'ERR_UPLOAD_DISK_FULL' }

/** A room of 10 GiB on a disk that has enough, and its clock. */
function open(t: Test, maxBytes = 10 * GIB) {
  const clock = { ms: 0 }
  // Sizes are announced and never written: the disk is told to have more than it has.
  const room = new Room({ dir: place(t), maxBytes, reserveBytes: -100 * GIB, now: () => clock.ms })
  return { room, clock }
}

t.test('an announcement keeps its room for as long as nobody else needs it', async t => {
  const { room, clock } = open(t)
  const idle = await room.reserve(10 * GIB)
  clock.ms += 24 * 60 * MINUTE
  await idle.renew()
  const other = await room.reserve(3 * GIB)
  await t.rejects(room.reserve(11 * GIB), FULL, 'there is not more than there is')
  await t.resolves(idle.renew(), 'the other one has sent nothing either')
  await t.resolves(other.renew())
  other.wrote(MIB)
  await t.rejects(idle.renew(), FULL, 'the first bytes decide')
})

t.test('an upload that goes on loses nothing to whoever comes later, up to its last byte', async t => {
  const { room, clock } = open(t)
  const upload = await room.reserve(8 * GIB)
  // 100 KB/s: a slow line, and a day of it.
  for (let sent = 0; sent < 8 * GIB; sent += MIB) {
    upload.wrote(MIB)
    clock.ms += 10_000
    if (sent % (64 * MIB) === 0) await t.rejects(room.reserve(3 * GIB), FULL)
  }
  t.equal(room.storedBytes, 8 * GIB)
  clock.ms += 24 * 60 * MINUTE
  await t.rejects(room.reserve(3 * GIB), FULL, 'what is stored stays')
  await room.reserve(2 * GIB)
})

t.test('an upload that is interrupted keeps its room for ten minutes, and then until somebody needs it', async t => {
  const { room, clock } = open(t)
  const upload = await room.reserve(3 * GIB)
  upload.wrote(2 * GIB)
  clock.ms += 10 * MINUTE - 1
  await t.rejects(room.reserve(8 * GIB), FULL)
  clock.ms += 1
  await upload.renew()
  const other = await room.reserve(8 * GIB)
  t.equal(room.storedBytes, 2 * GIB)
  other.release()
  await t.resolves(upload.renew(), 'and has it again where it has become free')
  upload.wrote(GIB)
  t.equal(room.storedBytes, 3 * GIB)
})

t.test('a drip keeps no room: what comes must be worth the time', async t => {
  const { room, clock } = open(t)
  const drip = await room.reserve(10 * GIB)
  for (let minute = 0; minute < 60; minute++) {
    drip.wrote(1)
    clock.ms += MINUTE
  }
  await t.resolves(room.reserve(GIB))
})

t.test('the one that nothing has come for the longest gives way first, and nobody for nothing', async t => {
  const { room, clock } = open(t)
  const started: Reservation[] = []
  for (let index = 0; index < 3; index++) {
    const upload = await room.reserve(3 * GIB)
    upload.wrote(16 * 1024)
    started.push(upload)
    clock.ms += 100
  }
  clock.ms += MINUTE
  await t.rejects(room.reserve(10 * GIB), FULL, 'all of them together are not enough')
  const other = await room.reserve(3 * GIB)
  other.wrote(MIB)
  const [oldest, ...newer] = started
  for (const upload of newer) {
    await t.resolves(upload.renew())
    upload.wrote(MIB)
  }
  await t.rejects(oldest!.renew(), FULL)
})

t.test('INVARIANT: whatever happens, what is stored is counted once, and ends at nothing', async t => {
  const step = fc.record({
    who: fc.nat(4),
    what: fc.constantFrom('reserve', 'renew', 'write', 'release', 'wait'),
    bytes: fc.integer({ min: 1, max: 400 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async steps => {
      const { room, clock } = open(t, 1000)
      const live = new Map<number, { reservation: Reservation; left: number; written: number }>()
      for (const { who, what, bytes } of steps) {
        const known = live.get(who)
        if (what === 'wait') clock.ms += bytes * 1000
        else if (what === 'reserve' && known === undefined) {
          const reservation = await room.reserve(bytes).catch(() => undefined)
          if (reservation !== undefined) live.set(who, { reservation, left: bytes, written: 0 })
        } else if (what === 'write' && known !== undefined && known.left > 0) {
          const held = await known.reservation.renew().then(
            () => true,
            () => false,
          )
          const part = Math.min(bytes, known.left)
          if (held) {
            known.reservation.wrote(part)
            known.left -= part
            known.written += part
          }
        } else if (what === 'renew') await known?.reservation.renew().catch(() => undefined)
        else if (what === 'release') {
          known?.reservation.release()
          live.delete(who)
        }
        const stored = [...live.values()].reduce((sum, { written }) => sum + written, 0)
        t.equal(room.storedBytes, stored)
        t.ok(stored <= 1000)
      }
      for (const { reservation } of live.values()) reservation.release()
      t.equal(room.storedBytes, 0)
      const all = await room.reserve(1000)
      all.release()
    }),
    { numRuns: 100 },
  )
})
