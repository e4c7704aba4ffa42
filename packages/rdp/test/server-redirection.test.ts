import t from 'tap'
import { decodeServerRedirection, encodeServerRedirection, LB } from '../src/server-redirection.ts'
import { changed, concat, hex, refuses, refusesPrefixes, utf16le } from './helper.ts'

// [MS-RDPBCGR] has no example; this one is put together field by field after §2.2.13.1.
const PACKET = hex(
  `
  00 04          # Flags
  2c 00          # Length
  02 00 00 00    # SessionID
  15 00 00 00    # RedirFlags: target address, user name, password
  04 00 00 00 31 00 00 00
  04 00 00 00 75 00 00 00
  04 00 00 00 70 00 00 00
  00 00 00 00 00 00 00 00`.replaceAll(/#.*/g, ''),
)

t.test('a packet is read in the order of the wire and round-trips', async t => {
  const redirection = decodeServerRedirection(PACKET)
  t.same(redirection, {
    sessionId: 2,
    redirFlags: LB.TARGET_NET_ADDRESS | LB.USERNAME | LB.PASSWORD,
    targetNetAddress: utf16le('1\0'),
    userName: utf16le('u\0'),
    password: utf16le('p\0'),
  })
  t.match(decodeServerRedirection(encodeServerRedirection(redirection)), redirection)
})

t.test('all fields round-trip, and flags that name no field are kept', async t => {
  const all = {
    sessionId: 1,
    redirFlags: LB.DONTSTOREUSERNAME | LB.PASSWORD_IS_PK_ENCRYPTED,
    targetNetAddress: hex('01'),
    loadBalanceInfo: hex('02'),
    userName: hex('03'),
    domain: hex('04'),
    password: hex('05'),
    targetFqdn: hex('06'),
    targetNetBiosName: hex('07'),
    tsvUrl: hex('08'),
    redirectionGuid: hex('09'),
    targetCertificate: hex('0a'),
    targetNetAddresses: hex('0b'),
  }
  const { redirFlags, ...fields } = decodeServerRedirection(encodeServerRedirection(all))
  t.match(all, fields)
  t.equal(redirFlags & (LB.DONTSTOREUSERNAME | LB.PASSWORD_IS_PK_ENCRYPTED), all.redirFlags)
})

t.test('every prefix that ends inside a field is refused', async t => {
  const fields = changed(PACKET.subarray(0, 36), 2, 36)
  refusesPrefixes(t, fields, decodeServerRedirection)
  t.ok(decodeServerRedirection(fields), 'padding may be missing')
  t.ok(decodeServerRedirection(concat(fields, new Uint8Array(8))), 'or not be counted')
  refuses(t, () => decodeServerRedirection(concat(fields, new Uint8Array(9))), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('other flags, a short length and oversized fields are refused', async t => {
  refuses(t, () => decodeServerRedirection(changed(PACKET, 1, 0)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeServerRedirection(changed(PACKET, 2, 11)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeServerRedirection(changed(PACKET, 12, 0x01, 0x40)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => decodeServerRedirection(changed(PACKET, 2, 20)), 'ERR_WIRE_TRUNCATED')
})
