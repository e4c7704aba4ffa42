import t from 'tap'
import { ntStatusReason } from '../../src/credssp/nt-status.ts'

t.test('each status has a stable code', async t => {
  const codes: [number, string][] = [
    [0xc000006d, 'ERR_CREDSSP_LOGON_FAILED'],
    [0xc000006a, 'ERR_CREDSSP_LOGON_FAILED'],
    [0xc0000064, 'ERR_CREDSSP_LOGON_FAILED'],
    [0xc0000234, 'ERR_CREDSSP_ACCOUNT_LOCKED'],
    [0xc0000071, 'ERR_CREDSSP_PASSWORD_EXPIRED'],
    [0xc0000224, 'ERR_CREDSSP_PASSWORD_MUST_CHANGE'],
    [0xc0000072, 'ERR_CREDSSP_ACCOUNT_DISABLED'],
    [0xc0000193, 'ERR_CREDSSP_ACCOUNT_EXPIRED'],
    [0xc000006e, 'ERR_CREDSSP_ACCOUNT_RESTRICTED'],
    [0xc000006f, 'ERR_CREDSSP_ACCOUNT_LOGON_HOURS'],
    [0xc0000070, 'ERR_CREDSSP_ACCOUNT_WORKSTATION'],
    [0xc000015b, 'ERR_CREDSSP_ACCOUNT_LOGON_TYPE'],
    [0xc0000022, 'ERR_CREDSSP_ACCESS_DENIED'],
    [0xc0000413, 'ERR_CREDSSP_AUTHENTICATION_FIREWALL'],
    [0xc0000418, 'ERR_CREDSSP_NTLM_BLOCKED'],
    [0xc000005e, 'ERR_CREDSSP_NO_LOGON_SERVER'],
    [0xc000018d, 'ERR_CREDSSP_DOMAIN_TRUST'],
    [0xc0000133, 'ERR_CREDSSP_TIME_SKEW'],
    [0xc00002fa, 'ERR_CREDSSP_SMARTCARD_REQUIRED'],
    [0xc0000380, 'ERR_CREDSSP_SMARTCARD_REQUIRED'],
    [0x8009030c, 'ERR_CREDSSP_LOGON_FAILED'],
    [0x80090346, 'ERR_CREDSSP_CHANNEL_BINDING'],
    [0xc0001234, 'ERR_CREDSSP_SERVER_ERROR'],
  ]
  for (const [status, code] of codes) {
    t.equal(ntStatusReason(status).code, code, status.toString(16))
    t.same(ntStatusReason(status | 0), ntStatusReason(status), 'signed or unsigned')
  }
})

t.test('an unknown user and a wrong password read the same', async t => {
  t.same(ntStatusReason(0xc0000064), ntStatusReason(0xc000006a))
})

t.test('every reason is a title and a remedy in plain sentences', async t => {
  for (const status of [0xc000006d, 0xc0000234, 0xc0000413, 0x80090308, 0]) {
    const { title, remedy } = ntStatusReason(status)
    t.match(title, /^[A-Z].*[^.]$/)
    t.match(remedy, /^[A-Z].*\.$/)
  }
})
