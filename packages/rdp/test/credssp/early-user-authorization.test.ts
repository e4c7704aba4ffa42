import t from 'tap'
import {
  decodeEarlyUserAuthorizationResult,
  EARLY_USER_AUTHORIZATION_RESULT_BYTES,
} from '../../src/credssp/early-user-authorization.ts'
import { hex } from './helper.ts'

t.test('success and denial are told apart', async t => {
  t.equal(decodeEarlyUserAuthorizationResult(hex('00000000')), 'success')
  t.equal(decodeEarlyUserAuthorizationResult(hex('05000000')), 'access_denied')
  t.equal(EARLY_USER_AUTHORIZATION_RESULT_BYTES, 4)
})

t.test('an unknown result, a truncated one and a longer one are refused', async t => {
  for (const unknown of ['01000000', '00000005', 'ffffffff', '30050000']) {
    const expected = { code: 'ERR_WIRE_INVALID_FIELD', facts: { field: 'authorizationResult' } }
    t.throws(() => decodeEarlyUserAuthorizationResult(hex(unknown)), expected, unknown)
  }
  for (let size = 0; size < 4; size++) {
    t.throws(() => decodeEarlyUserAuthorizationResult(new Uint8Array(size)), { code: 'ERR_WIRE_TRUNCATED' })
  }
  t.throws(() => decodeEarlyUserAuthorizationResult(new Uint8Array(5)), { code: 'ERR_WIRE_TRAILING_BYTES' })
})
