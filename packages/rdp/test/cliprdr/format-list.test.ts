import t from 'tap'
import { decodeFormatIds, encodeFormatList, type FormatNames } from '../../src/cliprdr/format-list.ts'
import { decodeCliprdrPdu } from '../../src/cliprdr/pdu.ts'
import { concat, hex, refuses, utf16le, vector } from '../helper.ts'

const LONG: FormatNames = { long: true, ascii: false }
const SHORT: FormatNames = { long: false, ascii: false }
const ids = (data: Uint8Array, names: FormatNames): number[] => [...decodeFormatIds(data, names)]

t.test('the lists of the specification are read', async t => {
  t.same(ids(decodeCliprdrPdu(vector('clipboard-format-list-picture')).data, LONG), [0xc004, 3, 8, 17])
  const text = decodeCliprdrPdu(vector('clipboard-format-list-text')).data
  t.same(ids(text, LONG), [0xc08a, 0xc145, 0xc143, 1, 13, 0xc004, 0xc00e, 3, 16, 7])
})

t.test('a short name takes 32 bytes, in letters of one byte or of two', async t => {
  const entry = (id: string, name: Uint8Array) => concat(hex(id), name, new Uint8Array(32 - name.length))
  const unicode = concat(entry('0d 00 00 00', utf16le('')), entry('04 c0 00 00', utf16le('Native')))
  const ascii = concat(entry('0d 00 00 00', hex('')), entry('04 c0 00 00', Buffer.from('Native')))
  t.same(ids(unicode, SHORT), [13, 0xc004])
  t.same(ids(ascii, { long: false, ascii: true }), [13, 0xc004])
  t.same(ids(concat(hex('04 c0 00 00'), Buffer.from('Native\0')), { long: true, ascii: true }), [0xc004])
})

t.test('a list that ends inside an entry is refused', async t => {
  refuses(t, () => ids(hex('0d 00 00'), LONG), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => ids(hex('0d 00 00 00 41 00 42'), LONG), 'ERR_WIRE_TRUNCATED', 'a name without end')
  refuses(t, () => ids(new Uint8Array(35), SHORT), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => ids(hex('0d 00 00 00 41 42'), { long: true, ascii: true }), 'ERR_WIRE_TRUNCATED')
})

t.test('lists of ours are read back in both variants', async t => {
  t.same(encodeFormatList([13], LONG), hex('02 00 00 00 06 00 00 00 0d 00 00 00 00 00'))
  for (const names of [LONG, SHORT]) {
    for (const list of [[], [13], [13, 1, 7]]) {
      t.same(ids(decodeCliprdrPdu(encodeFormatList(list, names)).data, names), list)
    }
  }
})
