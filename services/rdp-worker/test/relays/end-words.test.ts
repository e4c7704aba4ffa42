import t from 'tap'
import { ERROR_INFO, LICENSE_ERRORS, wordsOfErrorInfo, wordsOfLicenseError } from '../../src/relays/end-words.ts'

t.test('every code has words, and codes that nobody documents have none', async t => {
  for (const code of Object.keys(ERROR_INFO)) t.ok(wordsOfErrorInfo(Number(code))?.detail)
  for (const code of Object.keys(LICENSE_ERRORS)) t.ok(wordsOfLicenseError(Number(code))?.detail)
  t.equal(wordsOfErrorInfo(0), undefined)
  t.equal(wordsOfErrorInfo(0x7fff_0000)?.detail, 'The desktop reported protocol error 0x7fff0000.')
  t.equal(wordsOfErrorInfo(8), undefined)
  t.equal(wordsOfLicenseError(7), undefined, 'STATUS_VALID_CLIENT is no error')
})
