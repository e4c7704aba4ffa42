import t from 'tap'
import { CB_GENERAL, decodeClipboardCapabilities, encodeClipboardCapabilities } from '../../src/cliprdr/capabilities.ts'
import { decodeCliprdrPdu } from '../../src/cliprdr/pdu.ts'
import { concat, hex, refuses, refusesPrefixes } from '../helper.ts'

/** [MS-RDPECLIP] §4.1.3. */
const EXAMPLE = hex('07 00 00 00 10 00 00 00 01 00 00 00 01 00 0c 00 02 00 00 00 0e 00 00 00')

t.test('the example of the specification is read and round-trips to the byte', async t => {
  const { data } = decodeCliprdrPdu(EXAMPLE)
  const capabilities = decodeClipboardCapabilities(data)
  const { USE_LONG_FORMAT_NAMES, STREAM_FILECLIP_ENABLED, FILECLIP_NO_FILE_PATHS } = CB_GENERAL
  t.same(capabilities, {
    version: 2,
    generalFlags: USE_LONG_FORMAT_NAMES | STREAM_FILECLIP_ENABLED | FILECLIP_NO_FILE_PATHS,
  })
  t.same(encodeClipboardCapabilities(capabilities), EXAMPLE)
  refusesPrefixes(t, data, decodeClipboardCapabilities)
})

t.test('no set means no flags, unknown sets are stepped over, and the last general set counts', async t => {
  t.same(decodeClipboardCapabilities(hex('00 00 00 00')), { version: 1, generalFlags: 0 })
  const unknown = hex('09 00 06 00 aa bb')
  const general = (flags: string) => hex(`01 00 0c 00 01 00 00 00 ${flags}`)
  const sets = concat(hex('03 00 00 00'), unknown, general('3e 00 00 00'), general('02 00 00 00'))
  t.same(decodeClipboardCapabilities(sets), { version: 1, generalFlags: 2 })
})

t.test('a set that is shorter than its fields is refused, so that no count makes a loop without end', async t => {
  for (const set of ['01 00 0b 00', '01 00 00 00', '09 00 03 00', '09 00 00 00']) {
    const data = concat(hex('ff ff 00 00'), hex(set), new Uint8Array(32))
    refuses(t, () => decodeClipboardCapabilities(data), 'ERR_WIRE_INVALID_FIELD', set)
  }
})
