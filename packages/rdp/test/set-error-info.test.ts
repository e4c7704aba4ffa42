import t from 'tap'
import { decodeSetErrorInfo, encodeSetErrorInfo } from '../src/set-error-info.ts'
import { concat, hex, refuses, refusesPrefixes } from './helper.ts'

t.test('ERRINFO_LICENSE_INTERNAL of [MS-RDPBCGR] §2.2.5.1.1 round-trips, as do unknown codes', async t => {
  t.equal(decodeSetErrorInfo(hex('00 01 00 00')), 0x100)
  for (const code of [0, 0x100, 0xfffffffe]) t.equal(decodeSetErrorInfo(encodeSetErrorInfo(code)), code)
})

t.test('every truncated prefix, and bytes behind the end, are refused', async t => {
  refusesPrefixes(t, hex('00 01 00 00'), decodeSetErrorInfo)
  refuses(t, () => decodeSetErrorInfo(concat(hex('00 01 00 00'), hex('00'))), 'ERR_WIRE_TRAILING_BYTES')
})
