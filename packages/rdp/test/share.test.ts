import t from 'tap'
import {
  decodeShareData,
  encodeShareData,
  looksLikeSharePdu,
  PDUTYPE,
  PDUTYPE2,
  SHARE_DATA_BYTES,
  splitSharePdus,
} from '../src/share.ts'
import { changed, concat, hex, refuses, refusesPrefixes, vector } from './helper.ts'

const SYNCHRONIZE = vector('share-synchronize')
const FONT_LIST = vector('share-font-list')

t.test('the Synchronize and Font List PDUs of [MS-RDPBCGR] §4.1 are read and round-trip to the byte', async t => {
  const synchronize = decodeShareData(SYNCHRONIZE)
  t.match(synchronize, { pduSource: 1007, shareId: 0x103ea, streamId: 1, pduType2: PDUTYPE2.SYNCHRONIZE })
  t.same(synchronize.body, hex('01 00 ea 03'))
  t.same(encodeShareData(synchronize), SYNCHRONIZE)
  t.same(encodeShareData(decodeShareData(FONT_LIST)), FONT_LIST)
  refusesPrefixes(t, SYNCHRONIZE, decodeShareData, [18, 19, 20, 21])
})

t.test('several PDUs in one message are told apart', async t => {
  const pdus = splitSharePdus(concat(SYNCHRONIZE, FONT_LIST, SYNCHRONIZE))
  t.same(
    pdus.map(({ bytes }) => bytes),
    [SYNCHRONIZE, FONT_LIST, SYNCHRONIZE],
  )
  t.same(
    pdus.map(({ pduType, pduSource }) => [pduType, pduSource]),
    Array.from({ length: 3 }, () => [PDUTYPE.DATA, 1007]),
  )
})

t.test('every truncated prefix is refused', async t => refusesPrefixes(t, SYNCHRONIZE, splitSharePdus))

t.test('up to three bytes behind the last PDU are left out; four must be another header', async t => {
  for (const size of [1, 2, 3]) t.equal(splitSharePdus(concat(SYNCHRONIZE, new Uint8Array(size))).length, 1)
  refuses(t, () => splitSharePdus(concat(SYNCHRONIZE, new Uint8Array(4))), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => splitSharePdus(concat(SYNCHRONIZE, hex('16 00 17 00'))), 'ERR_WIRE_TRUNCATED')
})

t.test('a length shorter than the header is refused but for the short Deactivate All of Windows XP', async t => {
  t.same(splitSharePdus(hex('04 00 16 00')), [
    { pduType: PDUTYPE.DEACTIVATEALL, pduSource: 0, bytes: hex('04 00 16 00') },
  ])
  refuses(t, () => splitSharePdus(hex('04 00 17 00')), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => splitSharePdus(hex('05 00 17 00 ea 03')), 'ERR_WIRE_INVALID_FIELD')
  t.equal(splitSharePdus(hex('06 00 17 00 ea 03')).length, 1)
  refuses(t, () => splitSharePdus(hex('00 00 16 00')), 'ERR_WIRE_INVALID_FIELD')
})

t.test('a flow control PDU has 8 bytes whatever its marker would mean as a length', async t => {
  const flow = hex('00 80 00 41 00 00 ea 03')
  const [first, second] = splitSharePdus(concat(flow, SYNCHRONIZE))
  t.same(first, { pduType: undefined, pduSource: 0, bytes: flow })
  t.same(second?.bytes, SYNCHRONIZE)
  refusesPrefixes(t, flow, splitSharePdus)
})

t.test('a share header is told from the security header of a licensing PDU', async t => {
  t.ok(looksLikeSharePdu(SYNCHRONIZE))
  t.ok(looksLikeSharePdu(concat(SYNCHRONIZE, FONT_LIST)))
  t.notOk(looksLikeSharePdu(concat(hex('80 00 00 00'), vector('license-valid-client'))))
  t.notOk(looksLikeSharePdu(concat(hex('80 00 00 00'), new Uint8Array(124))), 'a licensing PDU of 128 bytes')
  t.notOk(looksLikeSharePdu(changed(SYNCHRONIZE, 2, 0x13)), 'Confirm Active comes from clients')
  t.notOk(looksLikeSharePdu(SYNCHRONIZE.subarray(0, 20)), 'longer than the message')
  t.notOk(looksLikeSharePdu(hex('16 00 17')))
})

t.test('a share data PDU without a body is the header alone', async t => {
  const pdu = { pduSource: 1002, shareId: 1, streamId: 1, pduType2: 0x99, body: hex('') }
  t.equal(encodeShareData(pdu).length, SHARE_DATA_BYTES)
  t.match(decodeShareData(encodeShareData(pdu)), { pduType2: 0x99, compressedType: 0 }, 'unknown types are kept')
})
