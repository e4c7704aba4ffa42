import fc from 'fast-check'
import t from 'tap'
import { ChannelInbox } from '../src/channel-inbox.ts'
import { CHANNEL_FLAG, type ChannelChunk } from '../src/channel-pdu.ts'
import { chunks, whole } from './rdpdr/target.ts'

const LIMIT = 65_536
const HEAD_BYTES = 64
const bytes = (size: number) => Uint8Array.from({ length: size }, (_, index) => index)
const { FIRST, LAST, PACKET_COMPRESSED, SUSPEND } = CHANNEL_FLAG

type Outcome = { readonly whole: Uint8Array } | { readonly broken: Uint8Array } | { readonly too_large: Uint8Array }

/** An inbox, and what has come out of it since it was asked last. */
class Inbox {
  room: (head: Uint8Array) => number
  readonly inbox: ChannelInbox
  #outcomes: Outcome[] = []

  constructor(room = LIMIT) {
    this.room = () => room
    this.inbox = new ChannelInbox(
      {
        room: head => this.room(head),
        whole: message => this.#outcomes.push({ whole: Uint8Array.from(message) }),
        lost: (head, because) => {
          const copy = Uint8Array.from(head)
          this.#outcomes.push(because === 'broken' ? { broken: copy } : { too_large: copy })
        },
      },
      HEAD_BYTES,
    )
  }

  push(...parts: readonly ChannelChunk[]): Outcome[] {
    for (const part of parts) this.inbox.push(part)
    return this.#outcomes.splice(0)
  }
}

t.test('chunks become messages, whatever their sizes', async t => {
  for (const size of [0, 1, 63, 64, 65, 1600, 1601, LIMIT]) {
    const it = new Inbox()
    const outcomes = size === 0 ? it.push(whole(bytes(0))) : it.push(...chunks(bytes(size)))
    t.same(outcomes, [{ whole: bytes(size) }], `${size}`)
    t.equal(it.inbox.bufferedBytes, 0)
  }
})

t.test('a message over the limit is skipped, and its beginning is told at its end', async t => {
  const it = new Inbox()
  const parts = chunks(bytes(LIMIT + 1))
  const last = parts.pop() as ChannelChunk
  for (const part of parts) {
    t.same(it.push(part), [])
    t.equal(it.inbox.bufferedBytes, HEAD_BYTES)
  }
  t.same(it.push(last), [{ too_large: bytes(HEAD_BYTES) }])
  t.same(it.push(whole(bytes(5))), [{ whole: bytes(5) }])
  const small = new Inbox(3)
  t.same(small.push(whole(bytes(4))), [{ too_large: bytes(4) }])
  const [first, ...rest] = [bytes(2), bytes(2)].map((data, index) => ({
    length: 4,
    flags: index === 0 ? FIRST : LAST,
    data,
  }))
  t.same(small.push(first as ChannelChunk, ...rest), [{ too_large: Uint8Array.of(0, 1, 0, 1) }], 'also a short one')
})

t.test('what is held is at most twice what came, whatever a header claims', async t => {
  for (const length of [LIMIT, 0xffffffff]) {
    const it = new Inbox(0xffffffff)
    let received = 0
    const add = (flags: number, data: Uint8Array): void => {
      it.push({ length, flags, data })
      received += data.length
      t.ok(it.inbox.bufferedBytes <= 2 * received, `${it.inbox.bufferedBytes} of ${received}`)
    }
    add(FIRST, bytes(1))
    for (const size of [1, 61, 1, 1, 1, 500, 1, 30_000]) add(0, bytes(size))
  }
  const it = new Inbox()
  it.push({ length: 0xffffffff, flags: FIRST, data: bytes(100) })
  t.equal(it.inbox.bufferedBytes, HEAD_BYTES)
})

t.test(
  'a limit that becomes smaller holds for the message under way, and one that becomes larger does not',
  async t => {
    const [first, second, ...rest] = chunks(bytes(10_000)) as [ChannelChunk, ChannelChunk, ...ChannelChunk[]]
    const it = new Inbox(10_000)
    it.push(first)
    it.room = () => 9_999
    it.inbox.shrink()
    t.equal(it.inbox.bufferedBytes, HEAD_BYTES)
    it.room = () => 10_000
    t.same(it.push(second, ...rest), [{ too_large: bytes(HEAD_BYTES) }])

    const unasked = new Inbox(10_000)
    unasked.push(first)
    unasked.room = () => 0
    unasked.push(second)
    t.equal(unasked.inbox.bufferedBytes, HEAD_BYTES, 'with the next chunk at the latest')
  },
)

t.test('what contradicts itself is dropped, and the next message is read', async t => {
  const broken: readonly (readonly [what: string, head: number, ...chunks: ChannelChunk[]])[] = [
    ['no beginning', 0, { length: 5, flags: 0, data: bytes(5) }],
    ['no beginning but an end', 0, { length: 5, flags: LAST, data: bytes(5) }],
    ['compressed', 0, { length: 5, flags: FIRST | LAST | PACKET_COMPRESSED, data: bytes(5) }],
    ['less than it says', 0, { length: 6, flags: FIRST | LAST, data: bytes(5) }],
    ['more than it says', 0, { length: 4, flags: FIRST | LAST, data: bytes(5) }],
    ['ends early', 5, { length: 9, flags: FIRST, data: bytes(5) }, { length: 9, flags: LAST, data: bytes(3) }],
    ['too much', 5, { length: 9, flags: FIRST, data: bytes(5) }, { length: 9, flags: LAST, data: bytes(5) }],
    ['another length', 5, { length: 9, flags: FIRST, data: bytes(5) }, { length: 8, flags: LAST, data: bytes(3) }],
  ]
  for (const [what, head, ...parts] of broken) {
    const it = new Inbox()
    t.same(it.push(...parts), [{ broken: bytes(head) }], what)
    t.equal(it.inbox.bufferedBytes, 0)
    t.same(it.push(whole(bytes(5))), [{ whole: bytes(5) }], what)
  }
  const it = new Inbox()
  it.push({ length: 9, flags: FIRST, data: bytes(5) })
  t.same(it.push(whole(bytes(5))), [{ broken: bytes(5) }, { whole: bytes(5) }], 'a message begins within another')
  it.push({ length: 9, flags: FIRST, data: bytes(5) })
  const twice = it.push({ length: 9, flags: FIRST | LAST, data: bytes(3) })
  t.same(twice, [{ broken: bytes(5) }, { broken: bytes(0) }], 'both are told')
})

t.test('suspend and resume belong to no message', async t => {
  const it = new Inbox()
  const [first, second] = chunks(bytes(2_000)) as [ChannelChunk, ChannelChunk]
  it.push(first)
  t.same(it.push({ length: 0, flags: SUSPEND, data: bytes(0) }), [])
  t.same(it.push(second), [{ whole: bytes(2_000) }])
})

t.test('any chunks are taken without an error, within the limit', async t => {
  const chunk = fc.record({
    length: fc.oneof(fc.nat({ max: 40 }), fc.constantFrom(100, 101, 0xffffffff)),
    flags: fc.oneof(fc.constantFrom(0, FIRST, LAST, FIRST | LAST), fc.nat()),
    data: fc.uint8Array({ maxLength: 40 }),
  })
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 30 }), parts => {
      const it = new Inbox(100)
      return parts.every(part => {
        const outcomes = it.push(part)
        const isTold = outcomes.every(outcome => !('whole' in outcome) || outcome.whole.length === part.length)
        return isTold && it.inbox.bufferedBytes <= 100
      })
    }),
    { numRuns: 1_000 },
  )
  t.pass()
})

t.test('a message comes out as it went in, however it is cut', async t => {
  const message = fc.record({ data: fc.uint8Array({ maxLength: 300 }), size: fc.integer({ min: 1, max: 310 }) })
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), messages => {
      const it = new Inbox(200)
      for (const { data, size } of messages) {
        const parts: ChannelChunk[] = []
        for (let at = 0; at === 0 || at < data.length; at += size) {
          const last = at + size >= data.length ? LAST : 0
          parts.push({ length: data.length, flags: (at === 0 ? FIRST : 0) | last, data: data.subarray(at, at + size) })
        }
        const wanted = data.length > 200 ? { too_large: data.subarray(0, HEAD_BYTES) } : { whole: data }
        t.same(it.push(...parts), [wanted])
      }
    }),
    { numRuns: 300 },
  )
})
