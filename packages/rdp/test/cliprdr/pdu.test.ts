import t from 'tap'
import {
  CB,
  decodeCliprdrPdu,
  decodeFileContentsStreamId,
  decodeFormatDataRequest,
  decodeResponseFlags,
  encodeCliprdrPdu,
  encodeFileContentsFailure,
  encodeFormatDataRequest,
  encodeFormatDataResponse,
  encodeFormatListResponse,
  encodeMonitorReady,
} from '../../src/cliprdr/pdu.ts'
import { concat, hex, refuses, refusesPrefixes, utf16le, vector } from '../helper.ts'

/** Examples of [MS-RDPECLIP] §4. */
const MONITOR_READY = '01 00 00 00 00 00 00 00'
const FORMAT_LIST_RESPONSE = '03 00 01 00 00 00 00 00'
const FORMAT_DATA_REQUEST = '04 00 00 00 04 00 00 00 0d 00 00 00'
const FORMAT_DATA_RESPONSE =
  '05 00 01 00 18 00 00 00 68 00 65 00 6c 00 6c 00 6f 00 20 00 77 00 6f 00 72 00 6c 00 64 00 00 00'
const LOCK = '0a 00 00 00 04 00 00 00 08 00 00 00'
const FILECONTENTS_REQUEST =
  '08 00 00 00 18 00 00 00 02 00 00 00 01 00 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00'

const EXAMPLES: readonly (readonly [msgType: number, message: Uint8Array])[] = [
  [CB.MONITOR_READY, hex(MONITOR_READY)],
  [CB.FORMAT_LIST, vector('clipboard-format-list-text')],
  [CB.FORMAT_LIST_RESPONSE, hex(FORMAT_LIST_RESPONSE)],
  [CB.FORMAT_DATA_REQUEST, hex(FORMAT_DATA_REQUEST)],
  [CB.FORMAT_DATA_RESPONSE, hex(FORMAT_DATA_RESPONSE)],
  [CB.FORMAT_DATA_RESPONSE, vector('clipboard-file-list')],
  [CB.TEMP_DIRECTORY, vector('clipboard-temp-directory')],
  [CB.FILECONTENTS_REQUEST, hex(FILECONTENTS_REQUEST)],
  [CB.LOCK_CLIPDATA, hex(LOCK)],
]

for (const [msgType, message] of EXAMPLES) {
  t.test(`message type ${msgType} of ${message.length} bytes is read and round-trips to the byte`, async t => {
    const pdu = decodeCliprdrPdu(message)
    t.equal(pdu.msgType, msgType)
    t.equal(pdu.data.length, message.length - 8)
    t.same(encodeCliprdrPdu(pdu), message)
    refusesPrefixes(t, message, decodeCliprdrPdu)
  })
}

t.test('what stands behind dataLen bytes is left out, and more than there is is refused', async t => {
  t.same(decodeCliprdrPdu(concat(hex(MONITOR_READY), hex('de ad be ef'))), decodeCliprdrPdu(hex(MONITOR_READY)))
  refuses(t, () => decodeCliprdrPdu(hex('05 00 01 00 ff ff ff ff 41 00')), 'ERR_WIRE_TRUNCATED')
})

t.test('messages of ours are those of the specification', async t => {
  t.same(encodeMonitorReady(), hex(MONITOR_READY))
  t.same(encodeFormatListResponse(true), hex(FORMAT_LIST_RESPONSE))
  t.same(encodeFormatListResponse(false), hex('03 00 02 00 00 00 00 00'))
  t.same(encodeFormatDataRequest(13), hex(FORMAT_DATA_REQUEST))
  t.same(encodeFormatDataResponse(true, utf16le('hello world\0')), hex(FORMAT_DATA_RESPONSE))
  t.same(encodeFormatDataResponse(false, new Uint8Array(0)), hex('05 00 02 00 00 00 00 00'))
  t.same(encodeFileContentsFailure(2), hex('09 00 02 00 04 00 00 00 02 00 00 00'))
})

t.test('the fields of requests are read, and a request without them is refused', async t => {
  t.equal(decodeFormatDataRequest(decodeCliprdrPdu(hex(FORMAT_DATA_REQUEST)).data), 13)
  t.equal(decodeFileContentsStreamId(decodeCliprdrPdu(hex(FILECONTENTS_REQUEST)).data), 2)
  refuses(t, () => decodeFormatDataRequest(hex('0d 00 00')), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => decodeFileContentsStreamId(hex('')), 'ERR_WIRE_TRUNCATED')
})

t.test('a response says either OK or FAIL; neither and both are refused', async t => {
  t.equal(decodeResponseFlags(0x0001), true)
  t.equal(decodeResponseFlags(0x0002), false)
  t.equal(decodeResponseFlags(0x0005), true, 'other flags are not its matter')
  for (const flags of [0, 3, 4, 7, 0xfffc]) refuses(t, () => decodeResponseFlags(flags), 'ERR_WIRE_INVALID_FIELD')
})
