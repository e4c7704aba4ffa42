import fc from 'fast-check'
import t from 'tap'
import {
  decodeNegTokenResp,
  encodeMechTypeList,
  encodeNegTokenInit,
  encodeNegTokenResp,
  MECHANISM,
  NEG_STATE,
} from '../../src/credssp/spnego.ts'
import { WireError } from '../../src/errors.ts'
import { hex, toHex } from './helper.ts'

t.test('negTokenInit offers NTLMSSP with its first token', async t => {
  const mechTypes = encodeMechTypeList([MECHANISM.NTLMSSP])
  t.equal(toHex(mechTypes), '300c060a2b06010401823702020a')
  const token = encodeNegTokenInit(mechTypes, hex('4e544c4d'))
  const expected = '6024 06062b0601050502 a01a 3018 a00e 300c060a2b06010401823702020a a206 0404 4e544c4d'
  t.equal(toHex(token), expected.replace(/ /g, ''))
})

t.test('a mechanism list can name Kerberos first', async t => {
  const mechTypes = encodeMechTypeList([MECHANISM.KERBEROS, MECHANISM.NTLMSSP])
  t.equal(toHex(mechTypes), '301706092a864886f712010202060a2b06010401823702020a')
})

t.test('negTokenResp is written and read back, each field optional', async t => {
  const full = {
    negState: NEG_STATE.REQUEST_MIC,
    supportedMech: MECHANISM.NTLMSSP,
    responseToken: hex('aabb'),
    mechListMic: hex('0100'),
  }
  const bytes = hex('a121 301f a0030a0103 a10c060a2b06010401823702020a a2040402aabb a30404020100')
  t.equal(toHex(encodeNegTokenResp(full)), toHex(bytes))
  t.same(decodeNegTokenResp(bytes), full)
  t.same(decodeNegTokenResp(hex('a1023000')), {})
})

t.test('malformed tokens are refused', async t => {
  for (const bytes of [
    '',
    '3000',
    'a0023000',
    'a102300000',
    'a1033000 00',
    'a1073005a0030a0104', // negState 4
    'a10a3008a0060a01000a0100', // two values in one field
    'a1093007a2030401aaa000', // out of order
    'a10b3009a0030a0100a4020400', // unknown field
  ]) {
    t.throws(() => decodeNegTokenResp(hex(bytes)), WireError, bytes)
  }
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
        try {
          decodeNegTokenResp(Buffer.concat([hex('a1'), bytes]))
          return true
        } catch (error) {
          return error instanceof WireError
        }
      }),
      { numRuns: 1000 },
    ),
  )
})
