import t from 'tap'
import { pduSize } from '../src/framing.ts'
import { hex, refuses } from './helper.ts'

const size = (text: string) => pduSize(hex(text), 0, hex(text).length)

t.test('the size of a TPKT packet is known after four bytes', async t => {
  for (const prefix of ['', '03', '03 00', '03 00 01']) t.equal(size(prefix), 0, `"${prefix}"`)
  t.equal(size('03 00 01 51'), 0x151)
  t.equal(size('03 ff ff ff'), 0xffff)
})

t.test('the size of a fast-path PDU is known after two or three bytes', async t => {
  t.equal(size('00'), 0)
  t.equal(size('00 81'), 0)
  t.equal(size('00 03'), 3)
  t.equal(size('00 7f'), 127)
  t.equal(size('00 81 00'), 256)
  t.equal(size('00 ff ff'), 32767)
  t.equal(size('c4 05'), 5, 'number of events and flags do not count')
})

t.test('a length that is shorter than its own header is refused', async t => {
  refuses(t, () => size('03 00 00 06'), 'ERR_WIRE_INVALID_FIELD')
  t.equal(size('03 00 00 07'), 7)
  refuses(t, () => size('00 02'), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => size('00 00'), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => size('00 80 03'), 'ERR_WIRE_INVALID_FIELD')
  t.equal(size('00 80 04'), 4)
})

t.test('a first byte that is neither TPKT nor fast-path is refused', async t => {
  for (const first of ['01', '02', '07', '0b', 'ff', '16', '47', '83']) {
    const action = Number.parseInt(first, 16) & 3
    if (action === 0) continue
    refuses(t, () => size(`${first} 00 00 10`), 'ERR_WIRE_UNSUPPORTED_VERSION', first)
  }
})

t.test('the size is read at the given offset and not behind the given end', async t => {
  const bytes = hex('ff ff 03 00 00 09 ff')
  t.equal(pduSize(bytes, 2, bytes.length), 9)
  t.equal(pduSize(bytes, 2, 5), 0)
})
