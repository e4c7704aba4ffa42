import t from 'tap'
import { decodeSecurityHeader, encodeSecurityHeader, SEC } from '../src/security-header.ts'
import { concat, hex, refusesPrefixes } from './helper.ts'

t.test('the header of the Client Info PDU in [MS-RDPBCGR] §4.1.10 is read and round-trips', async t => {
  const header = decodeSecurityHeader(hex('40 00 00 00 aa'))
  t.same(header, { flags: SEC.INFO_PKT, flagsHi: 0, body: hex('aa') })
  t.same(concat(encodeSecurityHeader(SEC.INFO_PKT), header.body), hex('40 00 00 00 aa'))
})

t.test('every truncated prefix is refused, and unknown flags are kept', async t => {
  refusesPrefixes(t, hex('80 00 00 00'), decodeSecurityHeader)
  t.match(decodeSecurityHeader(encodeSecurityHeader(0xffff, 0x1234)), { flags: 0xffff, flagsHi: 0x1234 })
})
