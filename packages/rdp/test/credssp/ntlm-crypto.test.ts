import { createHash } from 'node:crypto'
import t from 'tap'
import {
  channelBindingsHash,
  computeNtlmV2Response,
  encryptSessionKey,
  ntowfv1,
  ntowfv2,
  sealingKey,
  signingKey,
  upperCaseUserName,
} from '../../src/credssp/ntlm-crypto.ts'
import { hex, toHex, utf16 } from './helper.ts'
import * as vector from './ms-nlmp-vectors.ts'

t.test('NTOWFv1 and NTOWFv2 give the keys of MS-NLMP §4.2.2.1.2 and §4.2.4.1.1', async t => {
  t.equal(toHex(ntowfv1(vector.PASSWORD)), 'a4f49c406510bdcab6824ee7c30fd852')
  t.equal(toHex(ntowfv1(new Uint8Array(0))), '31d6cfe0d16ae931b73c59d7e0c089c0')
  t.equal(toHex(ntowfv2(vector.PASSWORD, vector.USER, vector.DOMAIN)), '0c868a403bfd7a93a3001ef22ef02e3f')
})

t.test('hashing a password leaves it as it was, for the caller to zero', async t => {
  const password = utf16('x'.repeat(40))
  ntowfv1(password)
  t.equal(toHex(password), toHex(utf16('x'.repeat(40))))
  t.equal(toHex(ntowfv1(new Uint8Array(0))), '31d6cfe0d16ae931b73c59d7e0c089c0', 'the next hash starts clean')
})

t.test('user names are upper-cased one UTF-16 unit at a time, as Windows does', async t => {
  t.equal(upperCaseUserName('svc-Jürgen.ÿ'), 'SVC-JÜRGEN.Ÿ')
  t.equal(upperCaseUserName('straße'), 'STRAßE')
  t.equal(upperCaseUserName('ıſ'), 'ıſ')
  t.equal(upperCaseUserName('😀a'), '😀A')
})

t.test('the domain name is not upper-cased', async t => {
  t.notSame(ntowfv2(vector.PASSWORD, vector.USER, 'DOMAIN'), ntowfv2(vector.PASSWORD, vector.USER, 'Domain'))
  t.same(ntowfv2(vector.PASSWORD, 'USER', 'Domain'), ntowfv2(vector.PASSWORD, 'user', 'Domain'))
})

t.test('responses and session keys are those of MS-NLMP §4.2.4.1 and §4.2.4.2', async t => {
  const response = computeNtlmV2Response({
    responseKeyNt: ntowfv2(vector.PASSWORD, vector.USER, vector.DOMAIN),
    serverChallenge: vector.SERVER_CHALLENGE,
    clientChallenge: vector.CLIENT_CHALLENGE,
    time: 0n,
    targetInfo: vector.TARGET_INFO,
  })
  t.equal(toHex(response.ntChallengeResponse), toHex(vector.NTLMV2_RESPONSE))
  t.equal(toHex(response.lmChallengeResponse), toHex(vector.LMV2_RESPONSE))
  t.equal(toHex(response.sessionBaseKey), toHex(vector.SESSION_BASE_KEY))
  const encrypted = encryptSessionKey(vector.SESSION_BASE_KEY, vector.RANDOM_SESSION_KEY)
  t.equal(toHex(encrypted), toHex(vector.ENCRYPTED_SESSION_KEY))
})

t.test('signing and sealing keys are those of MS-NLMP §4.2.4.4 and differ by direction', async t => {
  t.equal(toHex(sealingKey(vector.RANDOM_SESSION_KEY, 'client-to-server')), toHex(vector.SEALING_KEY))
  t.equal(toHex(signingKey(vector.RANDOM_SESSION_KEY, 'client-to-server')), toHex(vector.SIGNING_KEY))
  t.equal(toHex(sealingKey(vector.RANDOM_SESSION_KEY, 'server-to-client')), '9355f3a957c1583d25c4c2f11e40390e')
})

t.test('channel bindings are the MD5 of a gss_channel_bindings_struct without addresses', async t => {
  const endPoint = hex('ab'.repeat(32))
  const struct = Buffer.concat([hex('00'.repeat(16)), hex('35000000'), Buffer.from('tls-server-end-point:'), endPoint])
  t.equal(toHex(channelBindingsHash(endPoint)), createHash('md5').update(struct).digest('hex'))
})
