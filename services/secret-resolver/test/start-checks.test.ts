import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync } from 'node:fs'
import t from 'tap'
import { serviceEnv, startService } from './support/service.ts'
import { putSecret, seedPlace, startWorld } from './support/world.ts'

// Processes are started and ended, one after the other.
t.setTimeout(110_000)
const world = await startWorld(t)
// The rows are written with a key-1 of this world; the one of `env` has the same id and other bytes.
await putSecret(world, await world.startResolver(), await seedPlace(world))
const env = await serviceEnv(t, world)

t.test('a start without the key of stored rows is refused and names the key', async t => {
  const service = await startService(t, { ...env, SECRET_ENCRYPTION_KEY_ID: 'key-2' })
  t.equal((await service.exited).code, 1)
  t.match(service.log(), /"code":"ERR_MASTER_KEY_UNKNOWN".*key-1 \(2 rows\)/)
})

t.test('a start with another key of the same id is refused', async t => {
  const service = await startService(t, env)
  t.equal((await service.exited).code, 1)
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
  t.equal((await weak.exited).code, 1)
  t.match(weak.log(), /ERR_KEY_LENGTH/)
  t.notMatch(weak.log(), short)
  chmodSync(path as string, 0o644)
  t.teardown(() => chmodSync(path as string, 0o600))
  const open = await startService(t, env)
  t.equal((await open.exited).code, 1)
  t.match(open.log(), /ERR_KEY_FILE_PERMISSIONS/)
})
