import fc from 'fast-check'
import t from 'tap'
import { CHANNEL_FLAG } from '../../src/channel-pdu.ts'
import { MessageInbox } from '../../src/rdpdr/message-inbox.ts'
import { chunks, whole } from './target.ts'

const LIMIT = 65_536
const bytes = (size: number) => Uint8Array.from({ length: size }, (_, index) => index)
const { FIRST, LAST, PACKET_COMPRESSED, SUSPEND } = CHANNEL_FLAG

t.test('chunks become messages, whatever their sizes', async t => {
  for (const size of [0, 1, 1600, 1601, LIMIT]) {
    const inbox = new MessageInbox(LIMIT)
    const results = size === 0 ? [inbox.push(whole(bytes(0)))] : chunks(bytes(size)).map(chunk => inbox.push(chunk))
    t.same(results.at(-1), { message: bytes(size) })
    t.same(
      results.slice(0, -1).filter(result => Object.keys(result).length > 0),
      [],
    )
    t.equal(inbox.bufferedBytes, 0)
  }
})

t.test('a message over the limit is skipped, and its beginning is told at its end', async t => {
  const inbox = new MessageInbox(LIMIT)
  const results = chunks(bytes(LIMIT + 1)).map(chunk => {
    const result = inbox.push(chunk)
    t.ok(inbox.bufferedBytes <= 64)
    return result
  })
  t.same(results.at(-1), { oversizedHead: bytes(64) })
  t.same(inbox.push(whole(bytes(5))), { message: bytes(5) })
})

t.test('a claim of 4 GiB holds nothing', async t => {
  const inbox = new MessageInbox(LIMIT)
  inbox.push({ length: 0xffffffff, flags: FIRST, data: bytes(100) })
  t.equal(inbox.bufferedBytes, 64)
})

t.test('what contradicts itself is dropped, and the next message is read', async t => {
  const broken: readonly (readonly [what: string, ...chunks: Parameters<MessageInbox['push']>[0][]])[] = [
    ['no beginning', { length: 5, flags: 0, data: bytes(5) }],
    ['no beginning but an end', { length: 5, flags: LAST, data: bytes(5) }],
    ['compressed', { length: 5, flags: FIRST | LAST | PACKET_COMPRESSED, data: bytes(5) }],
    ['less than it says', { length: 6, flags: FIRST | LAST, data: bytes(5) }],
    ['more than it says', { length: 4, flags: FIRST | LAST, data: bytes(5) }],
    ['ends early', { length: 9, flags: FIRST, data: bytes(5) }, { length: 9, flags: LAST, data: bytes(3) }],
    ['too much', { length: 9, flags: FIRST, data: bytes(5) }, { length: 9, flags: LAST, data: bytes(5) }],
    ['another length', { length: 9, flags: FIRST, data: bytes(5) }, { length: 8, flags: LAST, data: bytes(3) }],
  ]
  for (const [what, ...parts] of broken) {
    const inbox = new MessageInbox(LIMIT)
    const results = parts.map(part => inbox.push(part))
    t.match(results.at(-1), { isBroken: true, message: undefined, oversizedHead: undefined }, what)
    t.same(inbox.push(whole(bytes(5))), { message: bytes(5) }, what)
  }
  const inbox = new MessageInbox(LIMIT)
  inbox.push({ length: 9, flags: FIRST, data: bytes(5) })
  t.same(inbox.push(whole(bytes(5))), { message: bytes(5), isBroken: true }, 'a message begins within another')
})

t.test('suspend and resume belong to no message', async t => {
  const inbox = new MessageInbox(LIMIT)
  const [first, second] = chunks(bytes(2_000))
  inbox.push(first!)
  t.same(inbox.push({ length: 0, flags: SUSPEND, data: bytes(0) }), {})
  t.same(inbox.push(second!), { message: bytes(2_000) })
})

t.test('any chunks are taken without an error, within the limit', async t => {
  const chunk = fc.record({
    length: fc.oneof(fc.nat({ max: 40 }), fc.constantFrom(100, 101, 0xffffffff)),
    flags: fc.oneof(fc.constantFrom(0, FIRST, LAST, FIRST | LAST), fc.nat()),
    data: fc.uint8Array({ maxLength: 40 }),
  })
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 30 }), parts => {
      const inbox = new MessageInbox(100)
      return parts.every(part => {
        const { message } = inbox.push(part)
        return inbox.bufferedBytes <= 100 && (message === undefined || message.length === part.length)
      })
    }),
    { numRuns: 1_000 },
  )
  t.pass()
})
