import t from 'tap'
import { errorOf, isLost, isPinRefusal, mayReconnect } from '../../src/pkcs11/failures.ts'
import { RestartTimes } from '../../src/pkcs11/restart-times.ts'

const ADDRESS = { tokenLabel: 'main', keyLabel: 'rap-2026' }

t.test('an answer of the token becomes one code, with its name and the function that gave it', async t => {
  const table: [number, string, string][] = [
    [0x32, 'ERR_KEY_UNAVAILABLE', 'CKR_DEVICE_REMOVED'],
    [0xa0, 'ERR_KEY_FORBIDDEN', 'CKR_PIN_INCORRECT'],
    [0xa4, 'ERR_KEY_FORBIDDEN', 'CKR_PIN_LOCKED'],
    [0xb3, 'ERR_KEY_UNAVAILABLE', 'CKR_SESSION_HANDLE_INVALID'],
    [0xe0, 'ERR_KEY_UNAVAILABLE', 'CKR_TOKEN_NOT_PRESENT'],
    [0x70, 'ERR_KEY_CONFIGURATION', 'CKR_MECHANISM_INVALID'],
    [0x71, 'ERR_KEY_CONFIGURATION', 'CKR_MECHANISM_PARAM_INVALID'],
    [0x68, 'ERR_KEY_FORBIDDEN', 'CKR_KEY_FUNCTION_NOT_PERMITTED'],
    [0x80000382, 'ERR_KEY_UNAVAILABLE', 'CKR 0x80000382'],
  ]
  for (const [ckr, code, reason] of table) {
    const facts = { key_id: 'hsm-1', token: 'main', key: 'rap-2026', reason, at: 'C_Test' }
    t.match(errorOf('hsm-1', ADDRESS, { at: 'C_Test', ckr }), { code, facts })
  }
})

t.test('the last try before a token locks is left to people', async t => {
  const error = errorOf('hsm-1', ADDRESS, { at: 'C_Login', trouble: 'pin_final_try' })
  t.match(error, { code: 'ERR_KEY_FORBIDDEN', facts: { reason: 'pin_final_try' } })
})

t.test('no refusal of a PIN leads to a new session or a restart of the library', async t => {
  for (const ckr of [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0x102]) {
    t.ok(isPinRefusal({ at: 'C_Login', ckr }))
    t.notOk(mayReconnect(ckr))
    t.notOk(isLost({ at: 'C_Login', ckr }))
  }
  t.ok(isLost({ at: 'C_GetSlotList', trouble: 'token_missing' }))
  t.notOk(isLost({ at: 'C_Decrypt', trouble: 'unwrap_failed' }))
})

t.test('a library is restarted at once for a token that is away, and then ever more seldom', async t => {
  const times = new RestartTimes()
  const due: number[] = []
  for (let second = 0; second <= 100; second++) if (times.isDue('away', second * 1_000)) due.push(second)
  t.same(due, [0, 10, 30, 70])
  t.ok(times.isDue('another', 100_000))
  times.succeeded('away')
  t.ok(times.isDue('away', 100_000))
  let count = 0
  for (let minute = 0; minute < 600; minute++) if (times.isDue('long', minute * 60_000)) count += 1
  t.ok(count >= 58, 'never more than ten minutes apart')
})
