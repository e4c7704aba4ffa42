import fc from 'fast-check'
import t from 'tap'
import { utf16le } from '../../src/credssp/ntlm-crypto.ts'
import {
  decodeChallengeMessage,
  encodeAuthenticateMessage,
  encodeNegotiateMessage,
  MAX_TARGET_INFO_BYTES,
  writeMic,
} from '../../src/credssp/ntlm-messages.ts'
import { WireError } from '../../src/errors.ts'
import { hex, toHex } from './helper.ts'
import * as vector from './ms-nlmp-vectors.ts'

const changed = (offset: number, bytes: string) => {
  const message = Uint8Array.from(vector.CHALLENGE_MESSAGE)
  message.set(hex(bytes), offset)
  return message
}

t.test('the negotiate message has empty names and carries the flags', async t => {
  const expected = `4e544c4d53535000 01000000 3782 08e2 0000000000000000 0000000000000000 0a0000000000000f`
  t.equal(toHex(encodeNegotiateMessage(0xe2088237)), expected.replace(/ /g, ''))
})

t.test('the challenge message of MS-NLMP §4.2.4.3 is read', async t => {
  const challenge = decodeChallengeMessage(vector.CHALLENGE_MESSAGE)
  t.equal(challenge.negotiateFlags >>> 0, 0xe28a8233)
  t.equal(toHex(challenge.serverChallenge), toHex(vector.SERVER_CHALLENGE))
  t.equal(toHex(challenge.targetInfo), toHex(vector.TARGET_INFO))
})

t.test('a challenge message without a Version field is read, whether its flags announce one or not', async t => {
  for (const flags of ['33828ae0', '33828ae2']) {
    const message = hex(`4e544c4d53535000 02000000 0000000000000000 ${flags} 0123456789abcdef 0000000000000000
      2400240030000000 ${toHex(vector.TARGET_INFO)}`)
    t.equal(toHex(decodeChallengeMessage(message).targetInfo), toHex(vector.TARGET_INFO))
  }
})

t.test('every truncated prefix of a challenge message is refused', async t => {
  for (let size = 0; size < vector.CHALLENGE_MESSAGE.length; size++) {
    t.throws(() => decodeChallengeMessage(vector.CHALLENGE_MESSAGE.subarray(0, size)), WireError, `${size} bytes`)
  }
})

t.test('a challenge message with another signature or type is refused', async t => {
  t.throws(() => decodeChallengeMessage(changed(0, '4f')), {
    code: 'ERR_WIRE_INVALID_FIELD',
    facts: { field: 'Signature' },
  })
  for (const type of ['01000000', '03000000', '02000001']) {
    t.throws(() => decodeChallengeMessage(changed(8, type)), { code: 'ERR_WIRE_UNEXPECTED_MESSAGE' }, type)
  }
})

t.test('payload fields outside of the payload are refused', async t => {
  const refusals: [string, number, string][] = [
    ['TargetName', 16, '2f000000'], // inside TargetInfoFields
    ['TargetName', 16, '00000000'],
    ['TargetName', 16, 'ffffffff'],
    ['TargetName', 12, 'ffff'],
    ['TargetInfo', 44, '45000000'], // one byte beyond the end
    ['TargetInfo', 44, 'feffffff'],
    ['TargetInfo', 40, '2500'],
  ]
  for (const [field, offset, bytes] of refusals) {
    const expected = { code: 'ERR_WIRE_INVALID_FIELD', facts: { field } }
    t.throws(() => decodeChallengeMessage(changed(offset, bytes)), expected, `${offset} ${bytes}`)
  }
})

t.test('target information is accepted up to its limit and refused above it', async t => {
  const withTargetInfo = (size: number) => {
    const message = Buffer.concat([vector.CHALLENGE_MESSAGE.subarray(0, 68), new Uint8Array(size)])
    message.writeUInt16LE(size, 40)
    return message
  }
  t.equal(decodeChallengeMessage(withTargetInfo(MAX_TARGET_INFO_BYTES)).targetInfo.length, MAX_TARGET_INFO_BYTES)
  t.throws(() => decodeChallengeMessage(withTargetInfo(MAX_TARGET_INFO_BYTES + 1)), { code: 'ERR_WIRE_TOO_LARGE' })
})

t.test('arbitrary bytes behind a right header end in a challenge or a WireError', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), bytes => {
        try {
          decodeChallengeMessage(Buffer.concat([vector.CHALLENGE_MESSAGE.subarray(0, 12), bytes]))
          return true
        } catch (error) {
          return error instanceof WireError
        }
      }),
      { numRuns: 2000 },
    ),
  )
})

t.test('the authenticate message is byte for byte that of MS-NLMP §4.2.4.3', async t => {
  const fields = {
    negotiateFlags: 0xe2888235,
    domainName: utf16le(vector.DOMAIN),
    userName: utf16le(vector.USER),
    workstation: utf16le(vector.WORKSTATION),
    lmChallengeResponse: vector.LMV2_RESPONSE,
    ntChallengeResponse: vector.NTLMV2_RESPONSE,
    encryptedRandomSessionKey: vector.ENCRYPTED_SESSION_KEY,
    version: hex('0501280a0000000f'),
    mic: false,
  }
  t.equal(toHex(encodeAuthenticateMessage(fields)), toHex(vector.AUTHENTICATE_MESSAGE))
  const withMic = encodeAuthenticateMessage({ ...fields, mic: true })
  t.equal(withMic.length, vector.AUTHENTICATE_MESSAGE.length + 16)
  writeMic(withMic, hex('ee'.repeat(16)))
  t.equal(toHex(withMic.subarray(72, 88)), 'ee'.repeat(16))
  t.equal(toHex(withMic.subarray(88)), toHex(vector.AUTHENTICATE_MESSAGE.subarray(72)))
  t.throws(() => encodeAuthenticateMessage({ ...fields, userName: new Uint8Array(0x10000) }), TypeError)
})
