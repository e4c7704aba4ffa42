import fc from 'fast-check'
import t from 'tap'
import { decodeTsRequest, encodeTsRequest, MAX_TS_REQUEST_BYTES, tsRequestSize } from '../../src/credssp/ts-request.ts'
import { WireError } from '../../src/errors.ts'
import { hex, toHex } from './helper.ts'

const FULL = {
  version: 6,
  negoToken: hex('4e544c4d'),
  authInfo: hex('0a'),
  pubKeyAuth: hex('0b0b'),
  errorCode: 0xc000006d,
  clientNonce: hex('0c'.repeat(32)),
}
const FULL_BYTES = hex(`
  304a
  a003 020106
  a10c 300a 3008 a006 0404 4e544c4d
  a203 0401 0a
  a304 0402 0b0b
  a406 0204 c000006d
  a522 0420 ${'0c'.repeat(32)}`)

t.test('a TSRequest is written in the order of its tags and read back', async t => {
  t.equal(toHex(encodeTsRequest(FULL)), toHex(FULL_BYTES))
  t.same(decodeTsRequest(FULL_BYTES), FULL)
  t.same(decodeTsRequest(hex('3005a003020102')), { version: 2 })
})

t.test('an NTSTATUS is read as unsigned, whether it was written as signed or as unsigned', async t => {
  t.equal(decodeTsRequest(hex('300da003020106a406 0204 c000006d')).errorCode, 0xc000006d)
  t.equal(decodeTsRequest(hex('300ea003020106a407 0205 00c000006d')).errorCode, 0xc000006d)
})

t.test('every truncated prefix of a TSRequest is refused', async t => {
  for (let size = 0; size < FULL_BYTES.length; size++) {
    t.throws(() => decodeTsRequest(FULL_BYTES.subarray(0, size)), { code: 'ERR_WIRE_TRUNCATED' }, `${size} bytes`)
  }
})

t.test('fields out of order, unknown, repeated or with extra bytes are refused', async t => {
  for (const bytes of [
    '3000',
    '300a a10300ffff a003020106',
    '300a a003020106 a003020106',
    '300a a003020106 a603020106',
    '300c a003020106 a3030401aa a200',
    '3008 a006 020106 020106',
    '3015 a003020106 a10e 300c 3004a0020400 3004a0020400', // two tokens
    '3009 a003020106 a102 3000', // no token
    '300e a003020106 a407 0205 01c000006d',
    '3005 a003020106 00',
    '3105 a003020106',
  ]) {
    t.throws(() => decodeTsRequest(hex(bytes)), WireError, bytes)
  }
})

t.test('the size of a frame is known from its first bytes and bounded before anything is read', async t => {
  t.equal(tsRequestSize(hex('')), undefined)
  t.equal(tsRequestSize(hex('30')), undefined)
  t.equal(tsRequestSize(hex('3050')), 0x52)
  t.equal(tsRequestSize(hex('3082')), undefined)
  t.equal(tsRequestSize(hex('3082fffc')), MAX_TS_REQUEST_BYTES)
  for (const huge of ['3082fffd', '3083010000', '3083ffffff']) {
    t.throws(() => tsRequestSize(hex(huge)), { code: 'ERR_WIRE_TOO_LARGE' }, huge)
  }
  for (const invalid of ['0300', '1603', '3080', '3084ffffffff', '30ff', '308100']) {
    t.throws(() => tsRequestSize(hex(invalid)), { code: 'ERR_WIRE_INVALID_FIELD' }, invalid)
  }
})

t.test('whatever is written is read back the same', async t => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 })
  const request = fc.record(
    {
      version: fc.integer({ min: 2, max: 6 }),
      negoToken: bytes,
      authInfo: bytes,
      pubKeyAuth: bytes,
      errorCode: fc.integer({ min: 0, max: 0xffffffff }),
      clientNonce: bytes,
    },
    { requiredKeys: ['version'] },
  )
  fc.assert(
    fc.property(request, value => t.same(decodeTsRequest(encodeTsRequest(value)), value)),
    { numRuns: 50 },
  )
})

t.test('changed bytes of a valid TSRequest end in a TSRequest or a WireError', async t => {
  const change = fc.record({ at: fc.nat(FULL_BYTES.length - 1), byte: fc.nat(255) })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), changes => {
        const bytes = Uint8Array.from(FULL_BYTES)
        for (const { at, byte } of changes) bytes[at] = byte
        try {
          decodeTsRequest(bytes)
          return true
        } catch (error) {
          return error instanceof WireError
        }
      }),
      { numRuns: 2000 },
    ),
  )
})
