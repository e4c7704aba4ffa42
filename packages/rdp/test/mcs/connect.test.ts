import t from 'tap'
import {
  decodeMcsConnectInitial,
  decodeMcsConnectResponse,
  encodeMcsConnectInitial,
  encodeMcsConnectResponse,
} from '../../src/mcs/connect.ts'
import { decodeX224Message, type X224Message } from '../../src/x224.ts'
import { changed, concat, refuses, refusesPrefixes, vector } from '../helper.ts'

const userData = (packet: Uint8Array) => (decodeX224Message(packet) as X224Message & { type: 'data' }).userData
const INITIAL = userData(vector('mcs-connect-initial'))
const RESPONSE = userData(vector('mcs-connect-response'))

t.test('the Connect Initial of [MS-RDPBCGR] §4.1.3 is read', async t => {
  const initial = decodeMcsConnectInitial(INITIAL)
  t.equal(initial.upwardFlag, true)
  t.same(initial.callingDomainSelector, Uint8Array.of(1))
  t.match(initial.targetParameters, { maxChannelIds: 34, maxUserIds: 2, maxMcsPduSize: 65535, protocolVersion: 2 })
  t.match(initial.minimumParameters, { maxChannelIds: 1, maxMcsPduSize: 1056 })
  t.match(initial.maximumParameters, { maxChannelIds: 65535, maxUserIds: 64535, maxMcsPduSize: 65535 })
  t.equal(initial.userData.length, 0x133)
  t.same(decodeMcsConnectInitial(encodeMcsConnectInitial(initial)), initial)
})

t.test('the Connect Response of [MS-RDPBCGR] §4.1.4 is read, and round-trips to the byte', async t => {
  const response = decodeMcsConnectResponse(RESPONSE)
  t.match(response, { result: 0, calledConnectId: 0, domainParameters: { maxUserIds: 3, maxMcsPduSize: 65528 } })
  t.same(encodeMcsConnectResponse(response), RESPONSE)
})

t.test('every truncated prefix is refused', async t => {
  refusesPrefixes(t, INITIAL, decodeMcsConnectInitial)
  refusesPrefixes(t, RESPONSE, decodeMcsConnectResponse)
})

t.test('bytes behind the PDU, and behind its last element, are refused', async t => {
  refuses(t, () => decodeMcsConnectInitial(concat(INITIAL, Uint8Array.of(0))), 'ERR_WIRE_TRAILING_BYTES')
  const longer = concat(changed(INITIAL, 4, 0x95), Uint8Array.of(0))
  refuses(t, () => decodeMcsConnectInitial(longer), 'ERR_WIRE_TRAILING_BYTES')
  refuses(t, () => decodeMcsConnectResponse(concat(RESPONSE, Uint8Array.of(0))), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('a connect PDU of another kind is refused', async t => {
  refuses(t, () => decodeMcsConnectInitial(RESPONSE), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeMcsConnectResponse(INITIAL), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('an unknown result is kept', async t => {
  const refused = encodeMcsConnectResponse({ ...decodeMcsConnectResponse(RESPONSE), result: 14 })
  t.equal(decodeMcsConnectResponse(refused).result, 14)
})

t.test('a boolean of two bytes is refused', async t => {
  // upwardFlag 01 01 ff becomes 01 02 ff 30, which takes a byte from the next element.
  refuses(t, () => decodeMcsConnectInitial(changed(INITIAL, 12, 2)), 'ERR_WIRE_INVALID_FIELD')
})
