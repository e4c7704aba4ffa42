import t from 'tap'
import { derExplicit, derInteger, derOctetString, derSequence, derUtf8String } from '../src/der.ts'
import {
  decodeRdCleanPathAnswer,
  decodeRdCleanPathRequest,
  encodeRdCleanPathAnswer,
  encodeRdCleanPathRequest,
  MAX_RDCLEANPATH_REQUEST_BYTES,
  MAX_RDCLEANPATH_X224_BYTES,
  RDCLEANPATH_ERROR,
  rdCleanPathRequestSize,
} from '../src/rdcleanpath.ts'
import { changed, concat, hex, refuses, refusesPrefixes, vector } from './helper.ts'

const REQUEST = vector('rdcleanpath-request')
const RESPONSE = vector('rdcleanpath-response')
const X224 = hex('de ad be ff')
const base = { destination: 'destination', proxyAuth: 'proxy auth' }

t.test('the request of the reference encoder is read and round-trips to the byte', async t => {
  const request = decodeRdCleanPathRequest(REQUEST)
  t.same(request, { ...base, preconnectionBlob: 'PCB', x224ConnectionPdu: X224 })
  t.same(encodeRdCleanPathRequest(request), REQUEST)
})

t.test('a VMConnect request has no X.224 PDU', async t => {
  const request = decodeRdCleanPathRequest(vector('rdcleanpath-vmconnect-request'))
  t.same(request, { ...base, preconnectionBlob: 'PCB' })
})

t.test('the response of the reference encoder is read and round-trips to the byte', async t => {
  const response = decodeRdCleanPathAnswer(RESPONSE)
  t.same(response, {
    type: 'response',
    serverAddr: '192.168.7.95',
    x224ConnectionPdu: X224,
    serverCertChain: [X224, X224, X224],
  })
  t.same(encodeRdCleanPathAnswer(response), RESPONSE)
})

t.test('the errors of the reference encoder are read and round-trip to the byte', async t => {
  const http = decodeRdCleanPathAnswer(vector('rdcleanpath-http-error'))
  t.same(http, { type: 'error', errorCode: RDCLEANPATH_ERROR.GENERAL, httpStatusCode: 500 })
  t.same(encodeRdCleanPathAnswer(http), vector('rdcleanpath-http-error'))
  const tls = decodeRdCleanPathAnswer(vector('rdcleanpath-tls-error'))
  t.same(tls, { type: 'error', errorCode: RDCLEANPATH_ERROR.GENERAL, tlsAlertCode: 48 })
  t.same(encodeRdCleanPathAnswer(tls), vector('rdcleanpath-tls-error'))
})

t.test('a negotiation error carries the connection confirm', async t => {
  const failure = { type: 'error', errorCode: RDCLEANPATH_ERROR.NEGOTIATION, x224ConnectionPdu: X224 } as const
  t.same(decodeRdCleanPathAnswer(encodeRdCleanPathAnswer(failure)), failure)
  const full = { ...failure, httpStatusCode: 403, wsaLastError: 10061, tlsAlertCode: 255 }
  t.same(decodeRdCleanPathAnswer(encodeRdCleanPathAnswer(full)), full)
})

t.test('the size of a request is known early and bounded before anything is parsed', async t => {
  t.equal(rdCleanPathRequestSize(hex('')), undefined)
  t.equal(rdCleanPathRequestSize(hex('30')), undefined)
  t.equal(rdCleanPathRequestSize(REQUEST), REQUEST.length)
  t.equal(rdCleanPathRequestSize(hex('30 82 3f fc')), MAX_RDCLEANPATH_REQUEST_BYTES)
  refuses(t, () => rdCleanPathRequestSize(hex('30 82 3f fd')), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => rdCleanPathRequestSize(hex('30 83 ff ff ff')), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => rdCleanPathRequestSize(hex('03 00 00 13')), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'a TPKT packet')
  refuses(t, () => rdCleanPathRequestSize(hex('30 80')), 'ERR_WIRE_INVALID_FIELD', 'an indefinite length')
})

t.test('a request of 16 KiB is read, one byte more is refused', async t => {
  const overhead = encodeRdCleanPathRequest({ ...base, proxyAuth: 'x'.repeat(1000) }).length - 1000
  const fit = MAX_RDCLEANPATH_REQUEST_BYTES - overhead
  for (const size of [fit - 1, fit]) {
    t.equal(
      decodeRdCleanPathRequest(encodeRdCleanPathRequest({ ...base, proxyAuth: 'x'.repeat(size) })).proxyAuth.length,
      size,
    )
  }
  const large = encodeRdCleanPathRequest({ ...base, proxyAuth: 'x'.repeat(fit + 1) })
  refuses(t, () => decodeRdCleanPathRequest(large), 'ERR_WIRE_TOO_LARGE')
})

t.test('an X.224 PDU of 512 bytes is read, one byte more is refused', async t => {
  for (const size of [MAX_RDCLEANPATH_X224_BYTES - 1, MAX_RDCLEANPATH_X224_BYTES]) {
    const request = { ...base, x224ConnectionPdu: new Uint8Array(size) }
    t.same(decodeRdCleanPathRequest(encodeRdCleanPathRequest(request)), request)
  }
  const large = encodeRdCleanPathRequest({ ...base, x224ConnectionPdu: new Uint8Array(513) })
  refuses(t, () => decodeRdCleanPathRequest(large), 'ERR_WIRE_TOO_LARGE')
})

t.test('every truncated prefix, and bytes behind the end, are refused', async t => {
  refusesPrefixes(t, REQUEST, decodeRdCleanPathRequest)
  refusesPrefixes(t, RESPONSE, decodeRdCleanPathAnswer)
  refuses(t, () => decodeRdCleanPathRequest(concat(REQUEST, hex('00'))), 'ERR_WIRE_TRAILING_BYTES')
  refuses(t, () => decodeRdCleanPathAnswer(concat(RESPONSE, hex('00'))), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('another version is refused', async t => {
  refuses(t, () => decodeRdCleanPathRequest(changed(REQUEST, 7, 0x3d)), 'ERR_WIRE_UNSUPPORTED_VERSION')
  refuses(t, () => decodeRdCleanPathAnswer(changed(RESPONSE, 7, 0x3f)), 'ERR_WIRE_UNSUPPORTED_VERSION')
})

t.test('a request without destination or token is none, and an answer is none either', async t => {
  const version = derExplicit(0, derInteger(3390))
  const auth = derExplicit(3, derUtf8String('token'))
  refuses(t, () => decodeRdCleanPathRequest(derSequence(version, auth)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const destination = derExplicit(2, derUtf8String('host'))
  refuses(t, () => decodeRdCleanPathRequest(derSequence(version, destination)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeRdCleanPathRequest(RESPONSE), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeRdCleanPathAnswer(derSequence(version)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('fields out of order, unknown fields and text that is not UTF-8 are refused', async t => {
  const version = derExplicit(0, derInteger(3390))
  const destination = derExplicit(2, derUtf8String('host'))
  const auth = derExplicit(3, derUtf8String('token'))
  const unknown = derExplicit(12, derOctetString(hex('00')))
  refuses(t, () => decodeRdCleanPathRequest(derSequence(version, auth, destination)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(
    t,
    () => decodeRdCleanPathRequest(derSequence(version, destination, auth, unknown)),
    'ERR_WIRE_TRAILING_BYTES',
  )
  const at = Buffer.from(REQUEST).indexOf('destination')
  refuses(t, () => decodeRdCleanPathRequest(changed(REQUEST, at, 0xff)), 'ERR_WIRE_INVALID_FIELD')
})

t.test('the number of certificates is bounded', async t => {
  const chain = (count: number) =>
    ({ type: 'response', serverAddr: 'host', serverCertChain: Array(count).fill(X224) }) as const
  t.equal(
    (decodeRdCleanPathAnswer(encodeRdCleanPathAnswer(chain(16))) as ReturnType<typeof chain>).serverCertChain.length,
    16,
  )
  refuses(t, () => decodeRdCleanPathAnswer(encodeRdCleanPathAnswer(chain(17))), 'ERR_WIRE_TOO_LARGE')
})
