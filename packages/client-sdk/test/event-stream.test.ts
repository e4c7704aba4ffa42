import fc from 'fast-check'
import t from 'tap'
import { decodeBase64, encodeBase64 } from '../src/base64.ts'
import { EventStreamParser } from '../src/event-stream.ts'

const STREAM =
  ': comment\nid: 1\nevent: session\ndata: {"a":\ndata: 1}\n\n\r\ndata: second\r\n\r\nevent: nothing\r\rdata:third\r\r'
const EVENTS = [
  { id: '1', type: 'session', data: '{"a":\n1}' },
  { id: '1', type: 'message', data: 'second' },
  { id: '1', type: 'message', data: 'third' },
]

t.test('an event stream gives the same events however it is cut', async t => {
  t.same(new EventStreamParser().push(STREAM), EVENTS)
  fc.assert(
    fc.property(fc.array(fc.nat(STREAM.length), { maxLength: 20 }), cuts => {
      const parser = new EventStreamParser()
      const places = [0, ...cuts.sort((a, b) => a - b), STREAM.length]
      const events = places.slice(1).flatMap((place, index) => parser.push(STREAM.slice(places[index], place)))
      return JSON.stringify(events) === JSON.stringify(EVENTS)
    }),
  )
})

t.test('an event or a line without end is refused', async t => {
  t.throws(() => new EventStreamParser().push('x'.repeat(70_000)), { code: 'ERR_RESPONSE_TOO_LARGE' })
  t.throws(() => new EventStreamParser().push('data: xxxxxxxx\n'.repeat(5000)), { code: 'ERR_RESPONSE_TOO_LARGE' })
  t.equal(new EventStreamParser().push('data: x\n\n'.repeat(20_000)).length, 20_000, 'many small ones are not')
})

t.test('base64 gives the bytes back, and refuses what is none', async t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), bytes =>
      Buffer.from(decodeBase64(encodeBase64(bytes))).equals(bytes),
    ),
  )
  t.equal(encodeBase64(Uint8Array.of(0, 255)), 'AP8=')
  t.throws(() => decodeBase64('A'), { code: 'ERR_DATA_PLANE_PROTOCOL' })
})
