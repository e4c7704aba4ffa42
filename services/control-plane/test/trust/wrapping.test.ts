import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { isKeyConfigurationError } from '@rap/key-provider'
import { startTransit, tempDir } from '@rap/testkit'
import t from 'tap'
import { openKeyWrapping } from '../../src/keys/wrapping.ts'
import { SigningKeys } from '../../src/trust/signing-keys.ts'
import { configOf, startStand } from '../helper.ts'

const stand = await startStand(t)
const transit = await startTransit()
t.teardown(() => transit.stop())
const folder = tempDir('rap-signing-keys-')
t.teardown(() => folder.remove())
const file = (name: string, content: string): string => {
  const path = join(folder.path, name)
  writeFileSync(path, content, { mode: 0o600 })
  return path
}

async function vault(path: string, body: unknown): Promise<void> {
  const headers = { 'x-vault-token': transit.rootToken, 'x-vault-request': 'true' }
  const call = request(`${transit.address}/v1/${path}`, { method: 'POST', ca: transit.caPem, headers })
  call.end(JSON.stringify(body))
  const [answer] = (await once(call, 'response')) as [IncomingMessage]
  answer.resume()
  if ((answer.statusCode ?? 500) >= 300) throw new Error(`${path} was answered with ${answer.statusCode}`)
}

await vault('sys/mounts/transit', { type: 'transit' })
await vault('transit/keys/rap-signing', { type: 'aes256-gcm96', derived: true })
const VAULT = {
  name: 'vault-signing',
  provider: 'vault',
  address: transit.address,
  key: 'rap-signing',
  ca_file: file('vault-ca.pem', transit.caPem),
  auth: { method: 'token', token_file: file('vault-token', transit.rootToken) },
}
const providers = file('key-providers.json', JSON.stringify({ keys: [VAULT] }))

async function wrapping(env: Record<string, string | undefined>) {
  const opened = await openKeyWrapping(configOf(env), stand.logger())
  t.teardown(() => opened.destroy())
  return opened
}

const OWN = file('own.key', randomBytes(32).toString('base64'))
const ownKey = { CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: OWN }
const inVault = {
  CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: undefined,
  CONTROL_PLANE_KEY_PROVIDERS_FILE: providers,
  CONTROL_PLANE_KEY_PROVIDER: 'vault-signing',
}
const keys = await wrapping(inVault)

t.test('signing keys can be wrapped in a vault, which sees none of them after it has wrapped them', async t => {
  const fresh = await stand.freshDatabase()
  await new SigningKeys(fresh.sql, keys).ensure()
  const rows = await fresh.sql`select wrapped_private_key as stored from rap.signing_keys`
  t.equal(rows.length, 2)
  for (const { stored } of rows) t.match(stored, { key_id: 'vault-signing:v1', wrapped: String })
  const again = new SigningKeys(fresh.sql, keys)
  const { kid } = await again.active()
  t.ok(kid)
  const asked = transit.requests.length
  for (let number = 0; number < 10; number++) await again.active()
  t.equal(transit.requests.length, asked, 'a key that is open is not asked for again')
})

t.test('a place of keys that is away is named at the start, with the key that it holds', async t => {
  const fresh = await stand.freshDatabase()
  await new SigningKeys(fresh.sql, keys).ensure()
  transit.seal()
  const error = await fresh.build({}, { keys }).catch((thrown: Error) => thrown)
  transit.unseal()
  t.match(error, {
    code: 'ERR_KEY_UNAVAILABLE',
    message: /^signing key .{43} is wrapped by vault-signing:v1, which does not open it/,
  })
  t.notOk(isKeyConfigurationError(error), 'an operator has nothing to change')
  await t.resolves(fresh.build({}, { keys }))
})

t.test('a wrapping key that was lost is named at the start as well', async t => {
  const fresh = await stand.freshDatabase()
  await new SigningKeys(fresh.sql, keys).ensure()
  const error = await fresh.build({}, { keys: await wrapping(ownKey) }).catch((thrown: Error) => thrown)
  t.match(error, { code: 'ERR_KEY_UNKNOWN', message: /vault-signing:v1/ })
  t.ok(isKeyConfigurationError(error))
})

t.test('a wrapping key gives way with two rotations, while it still opens what it has wrapped', async t => {
  const fresh = await stand.freshDatabase()
  const before = new SigningKeys(fresh.sql, await wrapping(ownKey))
  await before.ensure()
  const signing = new SigningKeys(fresh.sql, await wrapping({ ...inVault, ...ownKey }))
  await signing.ensure()
  const wrappedBy = async () => {
    const rows = await fresh.sql`
      select wrapped_private_key ->> 'key_id' as key_id from rap.signing_keys
      where state in ('active', 'next') order by state`
    return rows.map(row => row.key_id)
  }
  const record = async () => undefined
  t.same(await wrappedBy(), ['signing-key-wrap:v1', 'signing-key-wrap:v1'])
  await signing.rotate({ force: true, record })
  t.same(await wrappedBy(), ['signing-key-wrap:v1', 'vault-signing:v1'])
  await signing.rotate({ force: true, record })
  t.same(await wrappedBy(), ['vault-signing:v1', 'vault-signing:v1'])
  await t.resolves(new SigningKeys(fresh.sql, keys).ensure(), 'the old one is not needed any more')
})

t.test('a next key that does not open is not put to sign', async t => {
  const fresh = await stand.freshDatabase()
  await new SigningKeys(fresh.sql, keys).ensure()
  const signing = new SigningKeys(fresh.sql, keys)
  const { kid } = await signing.active()
  transit.seal()
  await t.rejects(signing.rotate({ force: true, record: async () => undefined }), { code: 'ERR_KEY_UNAVAILABLE' })
  t.equal((await signing.active()).kid, kid, 'and the active one signs on')
  transit.unseal()
})

t.test('a key that is to wrap and is not configured ends the start', async t => {
  await t.rejects(wrapping({ ...inVault, CONTROL_PLANE_KEY_PROVIDER: 'another' }), {
    code: 'ERR_KEY_UNKNOWN',
    facts: { key_id: 'another' },
  })
})

t.test('where a wrapping key is lost for good, what the handbook says brings new keys', async t => {
  const fresh = await stand.freshDatabase()
  await new SigningKeys(fresh.sql, keys).ensure()
  const own = await wrapping(ownKey)
  await t.rejects(new SigningKeys(fresh.sql, own).ensure(), { code: 'ERR_KEY_UNKNOWN' })
  const handbook = readFileSync(join(import.meta.dirname, '../../../../docs/operations/signing-keys.md'), 'utf8')
  await fresh.sql.unsafe(handbook.match(/```sql\n(.+?)\n```/s)?.[1] ?? 'no statement')
  const signing = new SigningKeys(fresh.sql, own)
  await signing.ensure()
  t.same((await signing.list()).map(({ state }) => state).sort(), ['active', 'next', 'revoked', 'revoked'])
})
