import t from 'tap'
import { Reader, Writer } from '../src/cursor.ts'
import { refuses } from './helper.ts'

t.test('a writer writes what a reader reads', async t => {
  const bytes = new Writer(1)
    .u8(1)
    .u16le(0x0302)
    .u16be(0x0405)
    .u32le(0x09080706)
    .bytes(Uint8Array.of(10, 11))
    .zeros(2)
    .finish()
  t.same(bytes, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 0))
  const reader = new Reader(bytes, 'structure')
  t.equal(reader.u8('a'), 1)
  t.equal(reader.u16le('b'), 0x0302)
  t.equal(reader.u16be('c'), 0x0405)
  t.equal(reader.u32le('d'), 0x09080706)
  t.same(reader.take(2, 'e'), Uint8Array.of(10, 11))
  refuses(t, () => reader.end(), 'ERR_WIRE_TRAILING_BYTES')
  reader.skip(2, 'f')
  reader.end()
})

t.test('a writer of exact capacity does not move its bytes', async t => {
  const writer = new Writer(4).u8(1)
  const early = writer.finish()
  writer.u8(2).u16le(3)
  t.equal(writer.finish().buffer, early.buffer)
  t.equal(writer.length, 4)
})

t.test('negative numbers are written as unsigned', async t => {
  t.same(new Writer().u32le(-1).finish(), Uint8Array.of(255, 255, 255, 255))
})

t.test('a reader refuses every read behind the end and tells structure and field', async t => {
  const reader = new Reader(Uint8Array.of(1), 'structure')
  for (const read of ['u16le', 'u16be', 'u32le', 'u32be', 'u64le'] as const) {
    t.throws(() => reader[read]('field'), {
      code: 'ERR_WIRE_TRUNCATED',
      facts: { structure: 'structure', field: 'field', received: 1 },
    })
  }
  refuses(t, () => reader.take(2, 'field'), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => reader.skip(-1, 'field'), 'ERR_WIRE_TRUNCATED')
  t.equal(reader.u8('field'), 1)
})
