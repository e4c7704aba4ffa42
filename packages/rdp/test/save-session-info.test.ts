import t from 'tap'
import {
  decodeSaveSessionInfo,
  encodeSaveSessionInfo,
  INFOTYPE,
  scrubSaveSessionInfo,
} from '../src/save-session-info.ts'
import { changed, concat, contains, hex, refuses, refusesPrefixes, utf16le, vector } from './helper.ts'

const LOGON = vector('save-session-info-logon')
const LOGON_LONG = vector('save-session-info-logon-long')
const PLAIN = vector('save-session-info-plain-notify')
const EXTENDED = vector('save-session-info-extended')
const NAMES = { domain: utf16le('NTDEV\0'), userName: utf16le('eltons\0'), sessionId: 2 }

t.test('all kinds of [MS-RDPBCGR] §4.3 are read and round-trip to the byte', async t => {
  t.same(decodeSaveSessionInfo(LOGON), { infoType: INFOTYPE.LOGON, ...NAMES })
  t.same(decodeSaveSessionInfo(LOGON_LONG), { infoType: INFOTYPE.LOGON_LONG, ...NAMES })
  t.same(decodeSaveSessionInfo(PLAIN), { infoType: INFOTYPE.LOGON_PLAINNOTIFY })
  t.match(decodeSaveSessionInfo(EXTENDED), {
    infoType: INFOTYPE.LOGON_EXTENDED_INFO,
    logonErrors: { errorNotificationType: 0xfffffffa, errorNotificationData: 2 },
  })
  for (const body of [LOGON, LOGON_LONG, PLAIN, EXTENDED]) {
    t.same(encodeSaveSessionInfo(decodeSaveSessionInfo(body)), body)
  }
})

t.test('every prefix that ends inside a field is refused; padding may be missing', async t => {
  const fields = 4 + 6 + 4 + 28 + 12
  refusesPrefixes(t, EXTENDED.subarray(0, fields), decodeSaveSessionInfo)
  t.ok(decodeSaveSessionInfo(EXTENDED.subarray(0, fields)))
  t.ok(decodeSaveSessionInfo(PLAIN.subarray(0, 4)))
  refusesPrefixes(t, LOGON_LONG, decodeSaveSessionInfo)
  refusesPrefixes(t, LOGON, decodeSaveSessionInfo)
})

t.test('names longer than their field are refused', async t => {
  refuses(t, () => decodeSaveSessionInfo(changed(LOGON, 4, 53)), 'ERR_WIRE_TOO_LARGE')
  t.ok(decodeSaveSessionInfo(changed(LOGON, 4, 52)))
  refuses(t, () => decodeSaveSessionInfo(changed(LOGON, 60, 1, 2)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => decodeSaveSessionInfo(changed(LOGON_LONG, 14, 1, 4)), 'ERR_WIRE_TOO_LARGE')
  t.throws(() => encodeSaveSessionInfo({ infoType: 0, ...NAMES, domain: new Uint8Array(53) }), TypeError)
})

t.test('an unknown type, and extended fields of another size, are refused', async t => {
  refuses(t, () => decodeSaveSessionInfo(hex('04 00 00 00')), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => decodeSaveSessionInfo(changed(EXTENDED, 10, 27)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => decodeSaveSessionInfo(changed(EXTENDED, 42, 9)), 'ERR_WIRE_INVALID_FIELD')
})

t.test('scrubbing leaves no name and no cookie, whatever the kind', async t => {
  const secrets = [NAMES.domain.subarray(0, -2), NAMES.userName.subarray(0, -2), EXTENDED.subarray(18, 42)]
  for (const body of [LOGON, LOGON_LONG, PLAIN, EXTENDED]) {
    const { body: scrubbed } = scrubSaveSessionInfo(body)
    t.ok(scrubbed)
    for (const secret of secrets) t.notOk(contains(scrubbed ?? hex(''), secret))
  }
  t.same(scrubSaveSessionInfo(LOGON).body, PLAIN)
  t.same(scrubSaveSessionInfo(LOGON_LONG), { infoType: 1, body: PLAIN })
})

t.test('scrubbing keeps logon errors and drops a message that held nothing but a cookie', async t => {
  const { body, logonErrors } = scrubSaveSessionInfo(EXTENDED)
  t.same(logonErrors, { errorNotificationType: 0xfffffffa, errorNotificationData: 2 })
  t.same(decodeSaveSessionInfo(body ?? hex('')), { infoType: 3, logonErrors })
  const cookie = encodeSaveSessionInfo({ infoType: 3, autoReconnectCookie: new Uint8Array(28).fill(7) })
  t.same(scrubSaveSessionInfo(cookie), { infoType: 3 })
  t.same(scrubSaveSessionInfo(concat(hex('09 00 00 00'), NAMES.userName)), { infoType: 9 }, 'nor does an unknown type')
  refuses(t, () => scrubSaveSessionInfo(hex('00 00 00')), 'ERR_WIRE_TRUNCATED')
})
