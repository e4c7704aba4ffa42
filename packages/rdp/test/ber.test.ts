import t from 'tap'
import {
  BER_TAG,
  readBerElement,
  readBerLength,
  readBerUnsigned,
  writeBerElement,
  writeBerUnsigned,
} from '../src/ber.ts'
import { Reader, Writer } from '../src/cursor.ts'
import { concat, hex, refuses } from './helper.ts'

const unsigned = (text: string) => readBerUnsigned(new Reader(hex(text), 'test'), 'number')

t.test('lengths are read in short and long form, also when longer than need be', async t => {
  const content = new Uint8Array(300)
  for (const [header, length] of [
    ['05', 5],
    ['81 80', 128],
    ['82 01 2c', 300],
    ['82 00 05', 5],
    ['84 00 00 01 2c', 300],
  ] as const) {
    t.equal(readBerLength(new Reader(concat(hex(header), content), 'test'), 'length'), length, header)
  }
})

t.test('an indefinite or oversized length form is refused', async t => {
  for (const header of ['80', '85 00 00 00 00 01', 'ff']) {
    refuses(
      t,
      () => readBerLength(new Reader(hex(`${header} 00 00`), 'test'), 'length'),
      'ERR_WIRE_INVALID_FIELD',
      header,
    )
  }
})

t.test('a length beyond the container is refused', async t => {
  refuses(t, () => readBerLength(new Reader(hex('03 00 00'), 'test'), 'length'), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => readBerLength(new Reader(hex('84 ff ff ff ff 00'), 'test'), 'length'), 'ERR_WIRE_TRUNCATED')
})

t.test('numbers are read as unsigned, as Windows writes them', async t => {
  t.equal(unsigned('02 02 ff ff'), 65535)
  t.equal(unsigned('02 03 00 ff ff'), 65535)
  t.equal(unsigned('02 05 00 ff ff ff ff'), 0xffffffff)
  refuses(t, () => unsigned('02 00'), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => unsigned('02 05 01 00 00 00 00'), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => unsigned('02 06 00 00 00 00 00 01'), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => unsigned('0a 01 01'), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('numbers round-trip around each size limit', async t => {
  for (const value of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0xffffffff]) {
    const bytes = writeBerUnsigned(new Writer(), value).finish()
    t.equal(readBerUnsigned(new Reader(bytes, 'test'), 'number'), value, `${value}`)
  }
})

t.test('elements round-trip around each length limit', async t => {
  for (const size of [0, 0x7f, 0x80, 0xff, 0x100, 0xffff]) {
    const bytes = writeBerElement(new Writer(), BER_TAG.OCTET_STRING, new Uint8Array(size)).finish()
    t.equal(readBerElement(new Reader(bytes, 'test'), BER_TAG.OCTET_STRING, 'element').length, size, `${size}`)
  }
})
