import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { KeyRing, openLocalKey, singleKeySource } from '@rap/key-provider'
import { startTransit } from '@rap/testkit'
import t from 'tap'
import { Agent, request } from 'undici'
import { keepSecrets } from './support/keep.ts'
import { readyFields, serviceEnv, startService } from './support/service.ts'
import { putSecret, seedPlace, startWorld } from './support/world.ts'

const world = await startWorld(t)
// The rows are written with a key-1 of this world; the one of `env` has the same id and other bytes.
await putSecret(world, await world.startResolver(), await seedPlace(world))
const env = await serviceEnv(t, world)

t.test('a start without the key of stored rows is refused and names the key', async t => {
  const service = await startService(t, { ...env, SECRET_ENCRYPTION_KEY_ID: 'key-2' })
  t.equal((await service.exited).code, 78)
  t.match(service.log(), /"code":"ERR_MASTER_KEY_UNKNOWN".*key-1 \(2 rows\)/)
})

t.test('a start with another key of the same id is refused', async t => {
  const service = await startService(t, env)
  t.equal((await service.exited).code, 78)
  t.match(service.log(), /"code":"ERR_MASTER_KEY_MISMATCH".*key-1/)
})

t.test('a wrong environment is told by variable, with exit code 78 and without the key', async t => {
  const text = readFileSync(env.SECRET_ENCRYPTION_KEY_FILE as string, 'utf8')
  const both = await startService(t, { ...env, SECRET_ENCRYPTION_KEY_B64: text })
  t.equal((await both.exited).code, 78)
  t.match(both.log(), /SECRET_ENCRYPTION_KEY_FILE: only one/)
  t.notMatch(both.log(), text)
  const { DATABASE_URL: _, ...missing } = env
  const without = await startService(t, { ...missing, SECRET_RESOLVER_PORT: 'x' })
  t.equal((await without.exited).code, 78)
  t.match(without.log(), /DATABASE_URL: is required/)
  t.match(without.log(), /SECRET_RESOLVER_PORT: must be/)
})

t.test('a key out of form, or a key file that others may read, is refused', async t => {
  const { SECRET_ENCRYPTION_KEY_FILE: path, ...rest } = env
  const short = randomBytes(16).toString('base64')
  const weak = await startService(t, { ...rest, SECRET_ENCRYPTION_KEY_B64: short })
  t.equal((await weak.exited).code, 78)
  t.match(weak.log(), /ERR_KEY_LENGTH/)
  t.notMatch(weak.log(), short)
  chmodSync(path as string, 0o644)
  t.teardown(() => chmodSync(path as string, 0o600))
  const open = await startService(t, env)
  t.equal((await open.exited).code, 78)
  t.match(open.log(), /ERR_KEY_FILE_PERMISSIONS/)
})

t.test('a start names every lost key, wherever it was, and how many rows need it', async t => {
  const lost = await startWorld(t)
  const at = await serviceEnv(t, lost)
  const dir = dirname(at.SECRET_ENCRYPTION_KEY_FILE as string)
  const [older, providers] = [join(dir, 'older.key'), join(dir, 'key-providers.json')]
  writeFileSync(older, randomBytes(32), { mode: 0o600 })
  writeFileSync(providers, JSON.stringify({ keys: [{ name: 'older', provider: 'file', file: older }] }), {
    mode: 0o600,
  })
  const both = { ...at, SECRET_KEY_PROVIDERS_FILE: providers }
  const service = await startService(t, both)
  await readyFields(service)
  const { resolver: sql } = lost.database
  const key = await openLocalKey({ keyId: 'older', file: older })
  await keepSecrets(sql, new KeyRing([singleKeySource(key)]), { count: 2, keyId: 'older' })
  await service.stop()

  const without = await startService(t, at)
  t.equal((await without.exited).code, 78)
  t.match(without.log(), /"code":"ERR_MASTER_KEY_UNKNOWN".*older \(2 rows\)/)
  rmSync(older)
  const gone = await startService(t, both)
  t.equal((await gone.exited).code, 78)
  t.match(gone.log(), /"code":"ERR_MASTER_KEY_UNKNOWN".*older \(2 rows\)/)
  writeFileSync(older, randomBytes(32), { mode: 0o600 })
  const other = await startService(t, both)
  t.equal((await other.exited).code, 78)
  t.match(other.log(), /"code":"ERR_MASTER_KEY_MISMATCH".*older \(2 rows\)/)
})

t.test('a vault that is sealed at the start is told by name, and the start may be tried again', async t => {
  const away = await startWorld(t)
  const { SECRET_ENCRYPTION_KEY_FILE: path, ...bare } = await serviceEnv(t, away)
  const dir = dirname(path as string)
  const transit = await startTransit()
  t.teardown(() => transit.stop())
  const file = (name: string, content: string) => {
    writeFileSync(join(dir, name), content, { mode: 0o600 })
    return join(dir, name)
  }
  const headers = { 'x-vault-token': transit.rootToken, 'x-vault-request': 'true' }
  const dispatcher = new Agent({ connect: { ca: transit.caPem } })
  t.teardown(() => dispatcher.close())
  for (const [what, body] of [
    ['sys/mounts/transit', { type: 'transit' }],
    ['transit/keys/rap', { derived: true, type: 'aes256-gcm96' }],
  ] as const) {
    const url = `${transit.address}/v1/${what}`
    await (await request(url, { method: 'POST', headers, body: JSON.stringify(body), dispatcher })).body.dump()
  }
  const source = {
    name: 'vault-main',
    provider: 'vault',
    address: transit.address,
    key: 'rap',
    ca_file: file('vault-ca.pem', transit.caPem),
    auth: { method: 'token', token_file: file('vault-token', transit.rootToken) },
  }
  const env = {
    ...bare,
    SECRET_ENCRYPTION_KEY_ID: 'vault-main',
    SECRET_KEY_PROVIDERS_FILE: file('key-providers.json', JSON.stringify({ keys: [source] })),
  }
  const first = await startService(t, env)
  await readyFields(first)
  await first.stop()
  transit.seal()
  const sealed = await startService(t, env)
  t.equal((await sealed.exited).code, 1)
  t.match(sealed.log(), /"code":"ERR_MASTER_KEY_UNUSABLE".*vault-main:v1 \(0 rows, ERR_KEY_UNAVAILABLE\)/)
  t.notMatch(sealed.log(), transit.rootToken)
  transit.unseal()
  await readyFields(await startService(t, env))
})

t.test('a providers file that is wrong is told by entry and field', async t => {
  const dir = dirname(env.SECRET_ENCRYPTION_KEY_FILE as string)
  const providers = join(dir, 'wrong.json')
  const start = async (document: unknown, mode = 0o600) => {
    writeFileSync(providers, typeof document === 'string' ? document : JSON.stringify(document), { mode })
    chmodSync(providers, mode)
    const service = await startService(t, { ...env, SECRET_KEY_PROVIDERS_FILE: providers })
    t.equal((await service.exited).code, 78)
    return service.log()
  }
  const file = { name: 'a', provider: 'file', file: '/nowhere/a.key' }
  t.match(await start('{'), /ERR_KEY_CONFIGURATION.*not JSON/)
  t.match(await start({ keys: [{ ...file, pin: '1234' }] }), /ERR_KEY_CONFIGURATION.*"field":"pin"/)
  t.match(await start({ keys: [file] }, 0o622), /ERR_KEY_FILE_PERMISSIONS.*0622/)
})
