import { chmod, writeFile } from 'node:fs/promises'
import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { openVaultSource, VaultSourceOptions } from '../../src/vault/index.ts'
import { contractDesk } from './helper.ts'

t.test('an address without TLS is refused, except for development', async t => {
  const desk = await contractDesk(t, { plain: true })
  const options = await desk.options()
  await t.rejects(openVaultSource(options, {}), { code: 'ERR_KEY_CONFIGURATION', facts: { source: 'main' } })
  const source = await openVaultSource(options, { allowPlainHttp: true })
  t.teardown(() => source.destroy())
  t.equal(await source.create!(), 'main:v1')
})

t.test('options out of form are refused by their path, and without their value', async t => {
  const desk = await contractDesk(t)
  const good = await desk.options()
  t.ok(Value.Check(VaultSourceOptions, good))
  const bad: readonly (readonly [string, object])[] = [
    ['/name', { name: 'a:b' }],
    ['/name', { name: '' }],
    ['/name', { name: 'x'.repeat(65) }],
    ['/address', { address: 'ftp://vault.example.com' }],
    ['/address', { address: 'https://token@vault.example.com' }],
    ['/address', { address: 'https://vault.example.com/v1' }],
    ['/address', { address: 'https://vault.example.com?a=b' }],
    ['/key', { key: '../sys/seal' }],
    ['/key', { key: 'a/b' }],
    ['/key', { key: '-a' }],
    ['/mount', { mount: '../sys' }],
    ['/mount', { mount: 'a//b' }],
    ['/mount', { mount: '/transit' }],
    ['/mount', { mount: 'transit?x=1' }],
    ['/namespace', { namespace: 'a\r\nx-vault-token: b' }],
    ['/timeout_ms', { timeout_ms: 10 }],
    ['/timeout_ms', { timeout_ms: 3_600_000 }],
    ['/ca_file', { ca_file: '' }],
    ['/auth', { auth: { method: 'token', token: 'hvs.literal', token_file: '/a' } }],
    ['/auth', { auth: { method: 'userpass' } }],
    ['/token', { token: 'hvs.literal' }],
  ]
  for (const [path, change] of bad) {
    const error = await openVaultSource({ ...good, ...change } as never, {}).catch((error: unknown) => error as Error)
    t.match(error, { code: 'ERR_KEY_CONFIGURATION', facts: { path } }, JSON.stringify(change).slice(0, 80))
    t.notMatch(JSON.stringify(error), 'hvs.literal')
  }
})

t.test('files are read and checked when the source is opened', async t => {
  const desk = await contractDesk(t)
  const token = async (content: string, mode?: number) => ({
    auth: { method: 'token', token_file: await desk.file(content, mode) } as const,
  })
  const rows: readonly (readonly [string, string, object])[] = [
    ['no file', 'ERR_KEY_FILE_UNREADABLE', { auth: { method: 'token', token_file: '/nowhere/token' } }],
    ['a folder', 'ERR_KEY_FILE_UNREADABLE', { auth: { method: 'token', token_file: '/tmp' } }],
    ['an empty file', 'ERR_KEY_FILE_UNREADABLE', await token('\n')],
    ['a large file', 'ERR_KEY_FILE_UNREADABLE', await token('a'.repeat(20_000))],
    ['two words', 'ERR_KEY_ENCODING', await token('hvs.a b')],
    ['two lines', 'ERR_KEY_ENCODING', await token('hvs.a\nb')],
    ['a quotation mark', 'ERR_KEY_ENCODING', await token('hvs."')],
    ['a backslash', 'ERR_KEY_ENCODING', await token('hvs.\\')],
    ['a control character', 'ERR_KEY_ENCODING', await token('hvs.\u0007')],
    ['no certificate', 'ERR_KEY_FILE_UNREADABLE', { ca_file: await desk.file('none') }],
    ['no authorities', 'ERR_KEY_FILE_UNREADABLE', { ca_file: '/nowhere/ca.pem' }],
  ]
  for (const [name, code, change] of rows) {
    await t.rejects(openVaultSource({ ...(await desk.options()), ...change }, {}), { code }, name)
  }
})

t.test('a credential that others may read or write is refused; an agent’s group may read it', async t => {
  const desk = await contractDesk(t)
  const options = await desk.options()
  const file = await desk.file('x')
  for (const auth of [
    { method: 'token', token_file: file },
    { method: 'approle', role_id_file: await desk.file('role', 0o644), secret_id_file: file },
  ] as const) {
    for (const mode of [0o604, 0o602, 0o620, 0o644, 0o666, 0o660]) {
      await chmod(file, mode)
      const refused = { code: 'ERR_KEY_FILE_PERMISSIONS', facts: { path: file } }
      await t.rejects(openVaultSource({ ...options, auth }, {}), refused, mode.toString(8))
    }
    for (const mode of [0o600, 0o400, 0o640, 0o440]) {
      await chmod(file, mode)
      const source = await openVaultSource({ ...options, auth }, {})
      source.destroy()
    }
  }
  await writeFile(file, 'changed')
  await chmod(file, 0o644)
  const jwt = await openVaultSource({ ...options, auth: { method: 'kubernetes', role: 'r', jwt_file: file } }, {})
  t.equal(jwt.name, 'main', 'the kubelet sets the mode of a service account’s token')
  jwt.destroy()
})
