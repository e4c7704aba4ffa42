import t from 'tap'
import { Reader, Writer } from '../src/cursor.ts'
import { perLengthBytes, readPerLength, writePerLength } from '../src/per.ts'
import { hex, refuses } from './helper.ts'

t.test('lengths round-trip around each size limit', async t => {
  for (const [length, text] of [
    [0, '00'],
    [0x7f, '7f'],
    [0x80, '80 80'],
    [0x3fff, 'bf ff'],
    [0x4000, 'c0 00'],
    [0x7fff, 'ff ff'],
  ] as const) {
    const bytes = writePerLength(new Writer(), length).finish()
    t.same(bytes, hex(text))
    t.equal(bytes.length, perLengthBytes(length))
    t.equal(readPerLength(new Reader(bytes, 'test'), 'length'), length)
  }
  refuses(t, () => writePerLength(new Writer(), 0x8000), 'ERR_WIRE_TOO_LARGE')
})

t.test('a length in two bytes is read also where one would do', async t => {
  t.equal(readPerLength(new Reader(hex('80 14'), 'test'), 'length'), 20)
})

t.test('a truncated length is refused', async t => {
  refuses(t, () => readPerLength(new Reader(hex(''), 'test'), 'length'), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => readPerLength(new Reader(hex('81'), 'test'), 'length'), 'ERR_WIRE_TRUNCATED')
})
