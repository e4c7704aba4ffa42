import fc from 'fast-check'
import t from 'tap'
import { replaceLoneSurrogates, unicodeTextBytes } from '../../src/cliprdr/unicode-text.ts'
import { concat, hex, refuses, utf16le } from '../helper.ts'

function replaced(...units: number[]): string {
  const text = new Uint8Array(Uint16Array.from(units).buffer)
  replaceLoneSurrogates(text)
  return Buffer.from(text).toString('utf16le')
}

t.test('a text ends at its first NUL, or where the data ends', async t => {
  t.equal(unicodeTextBytes(utf16le('ab')), 4)
  t.equal(unicodeTextBytes(utf16le('ab\0cd\0')), 4)
  t.equal(unicodeTextBytes(utf16le('\0')), 0)
  t.equal(unicodeTextBytes(hex('')), 0)
  t.equal(unicodeTextBytes(hex('00 41 41 00 00 00')), 4, 'two zeros that are halves of two units are no NUL')
})

t.test('half a unit is refused, but for one behind the NUL', async t => {
  refuses(t, () => unicodeTextBytes(hex('41')), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => unicodeTextBytes(hex('41 00 42')), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => unicodeTextBytes(hex('00')), 'ERR_WIRE_INVALID_FIELD')
  t.equal(unicodeTextBytes(concat(utf16le('a\0'), hex('42'))), 2)
})

t.test('a surrogate without its other half becomes U+FFFD, and pairs stay', async t => {
  t.equal(replaced(0xd83d, 0xde00), '😀')
  t.equal(replaced(0xd83d), '\ufffd')
  t.equal(replaced(0xde00), '\ufffd')
  t.equal(replaced(0xde00, 0xd83d), '\ufffd\ufffd')
  t.equal(replaced(0xd83d, 0x41), '\ufffdA')
  t.equal(replaced(0xd83d, 0xd83d, 0xde00), '\ufffd😀')
  t.equal(replaced(0xd7ff, 0xe000, 0xd8), '\ud7ff\ue000\u00d8')
})

t.test('every sequence of units becomes what a string makes well-formed', async t => {
  const unit = fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0xd700, max: 0xe0ff }))
  fc.assert(
    fc.property(
      fc.array(unit, { maxLength: 40 }),
      units => replaced(...units) === String.fromCharCode(...units).toWellFormed(),
    ),
    { numRuns: 2000 },
  )
  t.pass()
})
