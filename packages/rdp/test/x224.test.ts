import t from 'tap'
import { NEG_REQ_FLAG, PROTOCOL } from '../src/nego.ts'
import { encodeTpkt } from '../src/tpkt.ts'
import {
  decodeX224ConnectionConfirm,
  decodeX224ConnectionRequest,
  decodeX224Message,
  encodeX224ConnectionConfirm,
  encodeX224ConnectionRequest,
  encodeX224Data,
  encodeX224DisconnectRequest,
} from '../src/x224.ts'
import { changed, concat, hex, refuses, refusesPrefixes, vector } from './helper.ts'

const REQUEST = vector('x224-connection-request')
const CONFIRM = vector('x224-connection-confirm')

t.test('the connection request of [MS-RDPBCGR] §4.1.1 has a cookie and asks for standard security', async t => {
  const request = decodeX224ConnectionRequest(REQUEST)
  t.same(request, { cookie: 'eltons', negotiation: { flags: 0, requestedProtocols: PROTOCOL.RDP } })
  t.same(encodeX224ConnectionRequest(request), REQUEST)
})

t.test('the connection confirm of [MS-RDPBCGR] §4.1.2 selects standard security', async t => {
  const confirm = decodeX224ConnectionConfirm(CONFIRM)
  t.same(confirm, { sourceReference: 0x1234, negotiation: { type: 'response', flags: 0, selectedProtocol: 0 } })
  t.same(encodeX224ConnectionConfirm(confirm), CONFIRM)
})

t.test('requests round-trip with a routing token, with correlation information, and without anything', async t => {
  const requests = [
    { routingToken: new TextEncoder().encode('Cookie: msts=3640205228.15629.0000') },
    { negotiation: { flags: 0, requestedProtocols: PROTOCOL.SSL | PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX } },
    {
      negotiation: {
        flags: NEG_REQ_FLAG.CORRELATION_INFO_PRESENT,
        requestedProtocols: PROTOCOL.HYBRID,
        correlationId: Uint8Array.from({ length: 16 }, (_, index) => index + 1),
      },
    },
    {},
  ]
  for (const request of requests) t.same(decodeX224ConnectionRequest(encodeX224ConnectionRequest(request)), request)
})

t.test('confirms round-trip with a failure of any code and without negotiation', async t => {
  for (const failureCode of [1, 5, 6, 0xfedcba98]) {
    const confirm = { sourceReference: 0, negotiation: { type: 'failure', failureCode } } as const
    t.same(decodeX224ConnectionConfirm(encodeX224ConnectionConfirm(confirm)), confirm)
  }
  t.same(decodeX224ConnectionConfirm(encodeX224ConnectionConfirm({ sourceReference: 7 })), { sourceReference: 7 })
})

t.test('every truncated prefix of request and confirm is refused', async t => {
  refusesPrefixes(t, REQUEST, decodeX224ConnectionRequest)
  refusesPrefixes(t, CONFIRM, decodeX224ConnectionConfirm)
})

t.test('a request whose parts are shorter than its header says is refused', async t => {
  const negotiation = hex('01 00 08 00 03 00 00 00')
  for (let size = 1; size < negotiation.length; size++) {
    const tpdu = concat(Uint8Array.of(6 + size, 0xe0, 0, 0, 0, 0, 0), negotiation.subarray(0, size))
    refuses(t, () => decodeX224ConnectionRequest(encodeTpkt(tpdu)), 'ERR_WIRE_TRUNCATED', `${size} bytes`)
  }
})

t.test('bytes behind the negotiation are refused', async t => {
  const tail = Uint8Array.of(0)
  const request = concat(hex('0f e0 00 00 00 00 00 01 00 08 00 03 00 00 00'), tail)
  refuses(t, () => decodeX224ConnectionRequest(encodeTpkt(request)), 'ERR_WIRE_TRAILING_BYTES')
  const confirm = concat(hex('0f d0 00 00 12 34 00 02 00 08 00 00 00 00 00'), tail)
  refuses(t, () => decodeX224ConnectionConfirm(encodeTpkt(confirm)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('other negotiation structures and lengths are refused', async t => {
  const at = REQUEST.length - 8
  refuses(t, () => decodeX224ConnectionRequest(changed(REQUEST, at, 2)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeX224ConnectionRequest(changed(REQUEST, at + 2, 9)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeX224ConnectionConfirm(changed(CONFIRM, 11, 4)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeX224ConnectionConfirm(REQUEST), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('a cookie or token with a line end in it, and both at once, are mistakes of the caller', async t => {
  t.throws(() => encodeX224ConnectionRequest({ cookie: 'a\r\nb' }), TypeError)
  t.throws(() => encodeX224ConnectionRequest({ cookie: 'a', routingToken: Uint8Array.of(1) }), TypeError)
  t.throws(() =>
    encodeX224ConnectionRequest({ negotiation: { flags: 0, requestedProtocols: 1, correlationId: hex('01') } }),
  )
})

t.test('a request longer than the length indicator is refused', async t => {
  const longest = 254 - 6 - 2 - 'Cookie: mstshash='.length
  t.equal(encodeX224ConnectionRequest({ cookie: 'x'.repeat(longest) }).length, 4 + 255)
  refuses(t, () => encodeX224ConnectionRequest({ cookie: 'x'.repeat(longest + 1) }), 'ERR_WIRE_TOO_LARGE')
})

t.test('a data TPDU gives its user data, and nothing but 02 f0 80 is one', async t => {
  const packet = encodeX224Data(hex('01 02 03'))
  t.same(packet, hex('03 00 00 0a 02 f0 80 01 02 03'))
  t.same(decodeX224Message(packet), { type: 'data', userData: hex('01 02 03') })
  refuses(t, () => decodeX224Message(changed(packet, 6, 0)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeX224Message(changed(packet, 4, 3)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeX224Message(changed(packet, 5, 0x70)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refusesPrefixes(t, packet, decodeX224Message)
})

t.test('a disconnect request is recognised', async t => {
  const packet = encodeX224DisconnectRequest(1)
  t.same(packet, hex('03 00 00 0b 06 80 00 00 00 00 01'))
  t.same(decodeX224Message(packet), { type: 'disconnect', reason: 1 })
  refuses(t, () => decodeX224Message(encodeTpkt(hex('06 80 00 00 00 00 01 00'))), 'ERR_WIRE_TRAILING_BYTES')
})
