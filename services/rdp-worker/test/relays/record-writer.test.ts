import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Harness } from '../../../../packages/rdp/test/relay/harness.ts'
import { Landing, MAX_CARRY_BYTES } from '../../src/relays/landing.ts'
import { MESSAGE_BYTES, RecordWriter } from '../../src/relays/record-writer.ts'

const RECORD_BYTES = 16_384

/** A writer with what it sent: copies, and for each whether it was a view of the landing zone. */
function open(landing: Landing) {
  const sent: Buffer[] = []
  const inPlace: boolean[] = []
  const writer = new RecordWriter(landing, message => {
    sent.push(Buffer.from(message))
    inPlace.push(message.buffer === landing.zone.buffer)
  })
  return { writer, sent, inPlace, all: () => Buffer.concat(sent) }
}

/** Lets `bytes` land as a read does, and gives the view. */
function land(landing: Landing, bytes: Uint8Array): Uint8Array {
  landing.zone.set(bytes)
  return landing.zone.subarray(0, bytes.length)
}

const nextTurn = () => new Promise(resolve => setImmediate(resolve))

t.test(
  'full records leave as messages that fill one record with their header, and nothing small between them',
  async t => {
    const landing = new Landing()
    const { writer, sent, inPlace, all } = open(landing)
    const stream = randomBytes(RECORD_BYTES * 40)
    for (let at = 0; at < stream.length; at += RECORD_BYTES) {
      writer.write(land(landing, stream.subarray(at, at + RECORD_BYTES)))
    }
    t.same(new Set(sent.map(({ length }) => length)), new Set([MESSAGE_BYTES]))
    t.ok(inPlace.every(Boolean), 'every message is a view of where the read landed')
    await nextTurn()
    t.ok(all().equals(stream), 'and the rest follows at the end of the turn')
    t.equal(sent.length, 41)
  },
)

t.test('a read that does not fill a record leaves at once and in place', async t => {
  const landing = new Landing()
  const { writer, sent, inPlace } = open(landing)
  for (const size of [1, 100, 3616, MESSAGE_BYTES - 1, MESSAGE_BYTES, RECORD_BYTES - 100]) {
    writer.write(land(landing, randomBytes(size)))
  }
  t.same(
    sent.map(({ length }) => length),
    [1, 100, 3616, MESSAGE_BYTES - 1, MESSAGE_BYTES, RECORD_BYTES - 100],
  )
  t.ok(inPlace.every(Boolean))
})

t.test(
  'a tail goes before whatever comes next, and in front of the next read without a message of its own',
  async t => {
    const landing = new Landing()
    const { writer, sent, all } = open(landing)
    const [screen, rest] = [randomBytes(RECORD_BYTES), randomBytes(3616)]
    writer.write(land(landing, screen))
    writer.write(land(landing, rest))
    t.same(
      sent.map(({ length }) => length),
      [MESSAGE_BYTES, 5 + 3616],
    )
    t.ok(all().equals(Buffer.concat([screen, rest])))

    writer.write(land(landing, screen))
    const foreign = randomBytes(70)
    writer.write(foreign)
    t.ok(all().equals(Buffer.concat([screen, rest, screen, foreign])), 'also before bytes that did not land there')
  },
)

t.test('relays that share the landing zone keep their bytes apart, however their reads mix', async t => {
  const landing = new Landing()
  const relays = Array.from({ length: 5 }, () => ({ ...open(landing), expected: [] as Uint8Array[] }))
  for (let turn = 0; turn < 2000; turn++) {
    const relay = relays[Math.floor(Math.random() * relays.length)]
    const size = Math.random() < 0.6 ? RECORD_BYTES : 1 + Math.floor(Math.random() * RECORD_BYTES)
    const bytes = randomBytes(size)
    relay?.expected.push(bytes)
    if (Math.random() < 0.1) relay?.writer.write(bytes)
    else relay?.writer.write(land(landing, bytes))
    if (Math.random() < 0.05) await nextTurn()
    if (Math.random() < 0.05) relay?.writer.flush()
  }
  await nextTurn()
  for (const { all, expected } of relays) t.ok(all().equals(Buffer.concat(expected)))
})

t.test('a tail is bounded, and a flush sends only the own one', async t => {
  const landing = new Landing()
  const [first, second] = [open(landing), open(landing)]
  // Views that end with the zone, as after a PDU was taken out of the middle of a read.
  first.writer.write(landing.zone.subarray(RECORD_BYTES - MAX_CARRY_BYTES))
  t.equal(first.sent.length, 0)
  second.writer.flush()
  t.equal(first.sent.length, 0)
  first.writer.flush()
  t.equal(first.sent.length, 1)
  first.writer.write(landing.zone.subarray(RECORD_BYTES - MAX_CARRY_BYTES - 1))
  t.equal(first.sent.length, 2, 'one byte more and it leaves at once')
})

t.test(
  'the relay keeps nothing of a read beyond the call, so that the next read may land in the same place',
  async t => {
    const bytesOf = (reuse: boolean): Buffer => {
      const harness = new Harness()
      const zone = new Uint8Array(7)
      const { relay } = harness
      const fromServer = relay.fromServer.bind(relay)
      // Every packet of the connection sequence in pieces of 7 bytes at most, all in the same place, each destroyed after its call.
      relay.fromServer = chunk => {
        for (let at = 0; at < chunk.length; at += zone.length) {
          const piece = chunk.subarray(at, at + zone.length)
          if (!reuse) fromServer(Uint8Array.from(piece))
          else {
            zone.set(piece)
            fromServer(zone.subarray(0, piece.length))
            zone.fill(0xee)
          }
        }
      }
      const seen: Uint8Array[] = []
      const { takeToClient } = harness
      harness.takeToClient = () => {
        const bytes = takeToClient.call(harness)
        seen.push(bytes)
        return bytes
      }
      harness.toActive()
      return Buffer.concat(seen)
    }
    t.ok(bytesOf(true).equals(bytesOf(false)))
  },
)
