import t from 'tap'
import { credentialKeysOf, withoutCredentials } from '../../src/resources/credential-guard.ts'

t.test('names of credentials are found in every case and with every separator', async t => {
  for (const key of [
    'password',
    'PASSWORD',
    'pass_word',
    'pass-word',
    'Pass Word',
    'pass.word',
    'username',
    'user_name',
    'domain',
    'token',
    'access_token',
    'private-key',
    'privateKey',
    'client_secret',
    'credential',
    'credentials',
    'secret',
    'api-key',
  ]) {
    t.same(credentialKeysOf({ [key]: 'x', rack: 'A7' }), [key])
    t.same(withoutCredentials({ [key]: 'x', rack: 'A7' }), { rack: 'A7' })
  }
})

t.test('names that only hold such a word are not credentials', async t => {
  t.same(credentialKeysOf({ username_hint: 1, certificate_pins: 1, tokenizer: 1, domain_joined: true }), [])
})
