import t from 'tap'
import { decodeFastPath, encodeFastPath } from '../src/fast-path.ts'
import { concat, hex, recording, refuses, refusesPrefixes } from './helper.ts'

t.test('recorded input is read and round-trips; some clients write its length longer than need be', async t => {
  const input = recording('recorded-xrdp').filter(({ from, bytes }) => from === 'client' && bytes[0] !== 3)
  t.ok(input.length >= 4)
  for (const { bytes } of input) {
    const pdu = decodeFastPath(bytes)
    t.ok(pdu.numEvents > 0 && pdu.flags === 0)
    t.same(decodeFastPath(encodeFastPath(pdu)), pdu)
  }
})

t.test('PDUs round-trip around each limit of the length', async t => {
  for (const size of [1, 125, 126, 300, 32764]) {
    const pdu = { numEvents: 3, flags: 0, body: new Uint8Array(size).fill(1) }
    t.same(decodeFastPath(encodeFastPath(pdu)), pdu, `${size}`)
  }
  const large = { numEvents: 0, flags: 0, body: new Uint8Array(32765) }
  refuses(t, () => encodeFastPath(large), 'ERR_WIRE_TOO_LARGE')
})

t.test('flags are kept', async t => {
  t.match(decodeFastPath(hex('c4 04 01 1e')), { numEvents: 1, flags: 3 })
})

t.test('every truncated prefix, and bytes behind the end, are refused', async t => {
  refusesPrefixes(t, hex('04 04 01 1e'), decodeFastPath)
  refusesPrefixes(t, encodeFastPath({ numEvents: 0, flags: 0, body: new Uint8Array(200) }), decodeFastPath)
  refuses(t, () => decodeFastPath(concat(hex('04 04 01 1e'), hex('00'))), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('slow-path PDUs and unknown actions are refused', async t => {
  for (const first of ['03', '01', '02']) {
    refuses(t, () => decodeFastPath(hex(`${first} 00 00 07 02 f0 80`)), 'ERR_WIRE_UNSUPPORTED_VERSION')
  }
})
