import t from 'tap'
import { decodeTpkt, encodeTpkt, MAX_TPKT_BYTES } from '../src/tpkt.ts'
import { changed, concat, refuses, refusesPrefixes, vector } from './helper.ts'

const PACKET = vector('mcs-attach-user-request')

t.test('the packet of [MS-RDPBCGR] §4.1.6 holds its TPDU, and round-trips', async t => {
  const tpdu = decodeTpkt(PACKET)
  t.same(tpdu, Uint8Array.of(0x02, 0xf0, 0x80, 0x28))
  t.same(encodeTpkt(tpdu), PACKET)
})

t.test('every truncated prefix is refused', async t => refusesPrefixes(t, PACKET, decodeTpkt))

t.test('a packet with bytes behind its length is refused', async t => {
  refuses(t, () => decodeTpkt(concat(PACKET, Uint8Array.of(0))), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('another version is refused', async t => {
  refuses(t, () => decodeTpkt(changed(PACKET, 0, 2)), 'ERR_WIRE_UNSUPPORTED_VERSION')
})

t.test('a length shorter than the header is refused', async t => {
  refuses(t, () => decodeTpkt(changed(PACKET, 3, 3)), 'ERR_WIRE_INVALID_FIELD')
})

t.test('the largest packet has 65535 bytes', async t => {
  t.equal(encodeTpkt(new Uint8Array(MAX_TPKT_BYTES - 5)).length, MAX_TPKT_BYTES - 1)
  t.equal(encodeTpkt(new Uint8Array(MAX_TPKT_BYTES - 4)).length, MAX_TPKT_BYTES)
  refuses(t, () => encodeTpkt(new Uint8Array(MAX_TPKT_BYTES - 3)), 'ERR_WIRE_TOO_LARGE')
})
