import t from 'tap'
import {
  decodeConferenceCreateRequest,
  decodeConferenceCreateResponse,
  encodeConferenceCreateRequest,
  encodeConferenceCreateResponse,
} from '../../src/gcc/conference.ts'
import { decodeMcsConnectInitial, decodeMcsConnectResponse } from '../../src/mcs/connect.ts'
import { changed, concat, refuses, refusesPrefixes, vector } from '../helper.ts'

const REQUEST = decodeMcsConnectInitial(vector('mcs-connect-initial').subarray(7)).userData
const RESPONSE = decodeMcsConnectResponse(vector('mcs-connect-response').subarray(7)).userData

t.test('the request of [MS-RDPBCGR] §4.1.3 gives the client settings and round-trips to the byte', async t => {
  const userData = decodeConferenceCreateRequest(REQUEST)
  t.equal(userData.length, 0x11c)
  t.same(encodeConferenceCreateRequest(userData), REQUEST)
})

t.test('the response of [MS-RDPBCGR] §4.1.4 is read although its connectPDU length is wrong', async t => {
  const response = decodeConferenceCreateResponse(RESPONSE)
  t.match(response, { nodeId: 0x79f3, tag: 1, result: 0 })
  t.equal(response.userData.length, 0x108)
  t.same(decodeConferenceCreateResponse(encodeConferenceCreateResponse(response)), response)
})

t.test('every truncated prefix is refused', async t => {
  refusesPrefixes(t, REQUEST, decodeConferenceCreateRequest)
  refusesPrefixes(t, RESPONSE, decodeConferenceCreateResponse)
})

t.test('bytes behind the settings are refused', async t => {
  const tail = Uint8Array.of(0)
  refuses(t, () => decodeConferenceCreateRequest(concat(REQUEST, tail)), 'ERR_WIRE_TRAILING_BYTES')
  refuses(t, () => decodeConferenceCreateResponse(concat(RESPONSE, tail)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('another object identifier, another key and another PDU are refused', async t => {
  refuses(t, () => decodeConferenceCreateRequest(changed(REQUEST, 6, 2)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeConferenceCreateRequest(changed(REQUEST, 17, 0x4d)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeConferenceCreateResponse(changed(RESPONSE, 8, 0x15)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeConferenceCreateResponse(REQUEST), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeConferenceCreateResponse(changed(RESPONSE, 11, 0)), 'ERR_WIRE_INVALID_FIELD', 'empty tag')
})

t.test('large settings and tags round-trip', async t => {
  const userData = new Uint8Array(0x3fff).fill(9)
  t.same(decodeConferenceCreateRequest(encodeConferenceCreateRequest(userData)), userData)
  const response = { nodeId: 1001, tag: 0x1020304, result: 5, userData }
  t.same(decodeConferenceCreateResponse(encodeConferenceCreateResponse(response)), response)
})
