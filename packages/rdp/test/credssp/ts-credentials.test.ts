import t from 'tap'
import { encodeTsCredentials } from '../../src/credssp/ts-credentials.ts'
import { toHex, utf16 } from './helper.ts'

t.test('TSCredentials hold TSPasswordCreds with UTF-16LE strings', async t => {
  const password = utf16('pw')
  const encoded = encodeTsCredentials({ domain: 'D', username: 'us', password })
  const expected = '3021 a003020101 a11a 0418 3016 a004 0402 4400 a106 0404 75007300 a206 0404 70007700'
  t.equal(toHex(encoded), expected.replace(/ /g, ''))
  t.equal(toHex(password), toHex(utf16('pw')), 'the password of the caller is untouched')
})

t.test('an empty domain is an empty string, not a missing field', async t => {
  const encoded = toHex(encodeTsCredentials({ domain: '', username: 'u', password: utf16('p') }))
  t.ok(encoded.includes('a0020400a10404027500'))
})
