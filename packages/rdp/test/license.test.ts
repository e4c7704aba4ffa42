import t from 'tap'
import {
  decodeLicenseMessage,
  encodeLicenseValidClient,
  LICENSE_MESSAGE,
  looksLikeLicenseMessage,
  ST_NO_TRANSITION,
  STATUS_VALID_CLIENT,
} from '../src/license.ts'
import { changed, concat, hex, refuses, refusesPrefixes, vector } from './helper.ts'

const VALID_CLIENT = vector('license-valid-client')

t.test('the Valid Client message of [MS-RDPBCGR] §4.1.11 is read, and ours says the same', async t => {
  const expected = {
    messageType: LICENSE_MESSAGE.ERROR_ALERT,
    flags: 3,
    errorCode: STATUS_VALID_CLIENT,
    stateTransition: ST_NO_TRANSITION,
  }
  t.same(decodeLicenseMessage(VALID_CLIENT), expected)
  t.same(decodeLicenseMessage(encodeLicenseValidClient()), expected)
})

t.test('other messages are known by their type only', async t => {
  t.same(decodeLicenseMessage(hex('01 03 08 00 aa bb cc dd')), { messageType: 1, flags: 3 })
  t.same(decodeLicenseMessage(hex('77 00 04 00')), { messageType: 0x77, flags: 0 })
})

t.test('every truncated prefix is refused, bytes behind the end are left alone', async t => {
  refusesPrefixes(t, VALID_CLIENT, decodeLicenseMessage)
  t.same(decodeLicenseMessage(concat(VALID_CLIENT, hex('00'))), decodeLicenseMessage(VALID_CLIENT))
  refuses(t, () => decodeLicenseMessage(hex('ff 03 08 00 07 00 00 00')), 'ERR_WIRE_TRUNCATED', 'an alert cut short')
})

t.test('a licensing message is told by flags and size, whatever its flagsHi', async t => {
  t.ok(looksLikeLicenseMessage(concat(hex('80 00 00 00'), VALID_CLIENT)))
  t.ok(looksLikeLicenseMessage(concat(hex('80 02 11 00'), VALID_CLIENT)))
  t.notOk(looksLikeLicenseMessage(concat(hex('88 00 00 00'), VALID_CLIENT)), 'encrypted')
  t.notOk(looksLikeLicenseMessage(concat(hex('80 00 00 00'), VALID_CLIENT, hex('00'))), 'another size')
  t.notOk(looksLikeLicenseMessage(hex('80 00 00 00 ff 03 03')))
})

t.test('a size shorter than the preamble is refused', async t => {
  refuses(t, () => decodeLicenseMessage(changed(VALID_CLIENT, 2, 3)), 'ERR_WIRE_INVALID_FIELD')
})
