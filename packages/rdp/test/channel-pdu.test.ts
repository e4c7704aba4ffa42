import t from 'tap'
import {
  CHANNEL_CHUNK_LENGTH,
  CHANNEL_FLAG,
  ChannelReassembler,
  decodeChannelChunk,
  encodeChannelChunk,
  encodeChannelMessage,
} from '../src/channel-pdu.ts'
import { hex, refuses, refusesPrefixes } from './helper.ts'

const { FIRST, LAST, SHOW_PROTOCOL, PACKET_COMPRESSED } = CHANNEL_FLAG
// The drdynvc capabilities of recorded-xrdp.txt, behind the MCS header.
const CHUNK = hex('0c000000 03000000 500002000000000000000000')

t.test('a recorded chunk is read and round-trips to the byte', async t => {
  const chunk = decodeChannelChunk(CHUNK)
  t.match(chunk, { length: 12, flags: FIRST | LAST })
  t.same(encodeChannelChunk(chunk), CHUNK)
  refusesPrefixes(t, CHUNK.subarray(0, 8), decodeChannelChunk)
})

t.test('a chunk with more data than its message is refused, unless it is compressed', async t => {
  refuses(t, () => decodeChannelChunk(hex('01000000 03000000 0000')), 'ERR_WIRE_INVALID_FIELD')
  t.ok(decodeChannelChunk(hex('01000000 03002000 0000')))
})

t.test('messages are cut into chunks of 1600 bytes, with flags on each, and joined again', async t => {
  for (const size of [0, 1, CHANNEL_CHUNK_LENGTH, CHANNEL_CHUNK_LENGTH + 1, 5000]) {
    const message = new Uint8Array(size).map((_, index) => index % 251)
    const chunks = encodeChannelMessage(message, SHOW_PROTOCOL).map(decodeChannelChunk)
    t.equal(chunks.length, Math.max(1, Math.ceil(size / CHANNEL_CHUNK_LENGTH)))
    t.ok(chunks.every(({ flags }) => (flags & SHOW_PROTOCOL) !== 0))
    const reassembler = new ChannelReassembler(8192)
    const messages = chunks.map(chunk => reassembler.push(chunk))
    t.same(messages.pop(), message, `${size} bytes`)
    t.ok(messages.every(joined => joined === undefined))
    t.equal(reassembler.bufferedBytes, 0)
  }
})

t.test('a message is held only up to its limit, and refused above it before anything is held', async t => {
  const at = (length: number) => new ChannelReassembler(100).push({ length, flags: FIRST, data: hex('01') })
  t.equal(at(99), undefined)
  t.equal(at(100), undefined)
  refuses(t, () => at(101), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => at(0xffffffff), 'ERR_WIRE_TOO_LARGE')
})

t.test('compressed chunks are refused', async t => {
  const chunk = { length: 1, flags: FIRST | LAST | PACKET_COMPRESSED, data: hex('01') }
  refuses(t, () => new ChannelReassembler(100).push(chunk), 'ERR_WIRE_REFUSED')
})

t.test('chunks that contradict one another are refused', async t => {
  const begun = () => {
    const reassembler = new ChannelReassembler(100)
    reassembler.push({ length: 3, flags: FIRST, data: hex('01') })
    t.equal(reassembler.bufferedBytes, 1)
    return reassembler
  }
  const cases: Record<string, () => unknown> = {
    'a second first': () => begun().push({ length: 3, flags: FIRST, data: hex('02') }),
    'a whole message inside another': () => begun().push({ length: 1, flags: FIRST | LAST, data: hex('02') }),
    'another total': () => begun().push({ length: 4, flags: 0, data: hex('02') }),
    'more than the total': () => begun().push({ length: 3, flags: 0, data: hex('020304') }),
    'a last that comes early': () => begun().push({ length: 3, flags: LAST, data: hex('02') }),
    'a middle without a first': () => new ChannelReassembler(9).push({ length: 3, flags: 0, data: hex('01') }),
    'a last without a first': () => new ChannelReassembler(9).push({ length: 1, flags: LAST, data: hex('01') }),
    'a whole message that is short': () =>
      new ChannelReassembler(9).push({ length: 2, flags: FIRST | LAST, data: hex('01') }),
  }
  for (const [what, action] of Object.entries(cases)) refuses(t, action, 'ERR_WIRE_INVALID_FIELD', what)
})
