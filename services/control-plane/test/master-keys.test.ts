import { randomBytes, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { newCanary, startPlatform, waitFor } from '@rap/testkit'
import t from 'tap'

/** Master keys with the real secret-resolver behind the control plane: a life of a key, in order. */
const dir = t.testdir()
const keyFile = join(dir, 'next.key')
const nextKey = randomBytes(32)
writeFileSync(keyFile, nextKey, { mode: 0o600 })
const providersFile = join(dir, 'key-providers.json')
const entry = (name: string, file: string) => ({ name, provider: 'file', file })
const keys = [entry('next', keyFile), entry('not-there', join(dir, 'not-there.key'))]
writeFileSync(providersFile, JSON.stringify({ keys }), { mode: 0o600 })

const platform = await startPlatform({
  workers: 0,
  gateway: 'none',
  env: { 'secret-resolver': { SECRET_KEY_PROVIDERS_FILE: providersFile } },
})
t.teardown(() => platform.stop())
const { api } = platform

interface Key {
  readonly key_id: string
  readonly state: string
  readonly secrets: number
}
interface Rewrap {
  readonly id: string
  readonly state: string
  readonly remaining: number
}
type Problem = Readonly<Record<string, unknown>>

const list = () => api.call<{ items: Key[]; sources: object[]; instances: object[] }>('GET', '/v1/master-keys')
const key = async (id: string) => (await list()).items.find(({ key_id }) => key_id === id)
const rotate = (source: string) => api.send<Problem>('POST', '/v1/master-keys/rotate', { body: { source } })
const retire = (keyId: string) => api.send<Problem>('POST', `/v1/master-keys/${encodeURIComponent(keyId)}/retire`)

const resource = await platform.addTarget({
  name: 'Wrapped',
  host: 'desktop.example',
  port: 3389,
  credential: { username: 'u', password: newCanary() },
})

t.test('the list tells the keys, the sources with their health, and the resolvers that run', async t => {
  const answer = await list()
  t.match(answer.items, [
    { key_id: 'local-1', source: 'local-1', state: 'active', provider: 'file', secrets: 1, missing_on: [] },
    { key_id: 'next', state: 'available', secrets: 0, sealing_keys: 0 },
  ])
  t.match(answer.sources, [
    { name: 'local-1', health: 'ok' },
    { name: 'next', health: 'ok' },
    { name: 'not-there', health: 'key file is not there' },
  ])
  t.match(answer.instances, [{ name: /:\d+$/, sources: ['local-1', 'next'] }])
})

t.test('a rotation goes to a source that every resolver has', async t => {
  t.match(await rotate('unheard-of'), {
    status: 404,
    body: { code: 'ERR_MASTER_KEY_SOURCE_UNKNOWN', source: 'unheard-of' },
  })
  t.match(await rotate('not-there'), {
    status: 409,
    body: { code: 'ERR_MASTER_KEY_NOT_EVERYWHERE', source: 'not-there', missing_on: [/:\d+$/] },
  })
  t.match(await rotate('local-1'), { status: 409, body: { code: 'ERR_MASTER_KEY_ALREADY_ACTIVE' } })
  t.match(await rotate('next'), { status: 200, body: { previous_key_id: 'local-1', active_key_id: 'next' } })
  t.match(await key('next'), { state: 'active' })
  t.match(await api.writeSecret(resource, { username: 'u', password: newCanary() }), { key_id: 'next' })
})

t.test('a key that is active or still needed is not retired, and the refusal counts what needs it', async t => {
  t.match(await retire('next'), { status: 409, body: { code: 'ERR_MASTER_KEY_ACTIVE' } })
  t.match(await retire('local-1'), {
    status: 409,
    body: { code: 'ERR_MASTER_KEY_IN_USE', secrets: 1, sealing_keys: Number },
  })
  t.match(await retire('unheard-of'), { status: 404, body: { code: 'ERR_MASTER_KEY_UNKNOWN' } })
})

t.test('a re-wrap does what its plan says and goes on by itself; then the key can be retired', async t => {
  const plan = await api.call<{ total: number; from: object[] }>('GET', '/v1/rewraps/plan')
  t.match(plan, { to_key_id: 'next', from: [{ key_id: 'local-1', rows: plan.total }] })
  t.ok(plan.total >= 1)
  t.match(await api.send('GET', `/v1/rewraps/${randomUUID()}`), { status: 404, body: { code: 'ERR_REWRAP_UNKNOWN' } })
  const { status, body: started } = await api.send<Rewrap>('POST', '/v1/rewraps')
  t.equal(status, 202)
  t.match(started, { to_key_id: 'next', total: plan.total, failed: 0 })
  await waitFor(async () => (await api.call<Rewrap>('GET', `/v1/rewraps/${started.id}`)).state === 'finished', {
    what: 'the end of the re-wrap',
  })
  t.match(await api.call('GET', '/v1/rewraps'), { items: [{ id: started.id, remaining: 0, seconds_left: 0 }] })
  t.match(await api.call('GET', '/v1/rewraps/plan'), { from: [], total: 0 })
  t.match(await retire('local-1'), { status: 200, body: { key_id: 'local-1' } })
  t.match(await key('local-1'), { state: 'retired', secrets: 0 })
  t.match(await rotate('local-1'), { status: 409, body: { code: 'ERR_MASTER_KEY_RETIRED' } })
  t.match(await api.call('GET', `/v1/resources/${resource.id}/secret`), { version: 2, key_id: 'next' })
})

t.test('the audit of the platform tells each step with the person who asked for it', async t => {
  const { items } = await api.call<{ items: { event: string; user_id?: string; outcome: string }[] }>(
    'GET',
    '/v1/audit-events?organization_id=platform&limit=200',
  )
  const { user } = await api.call<{ user: { id: string } }>('GET', '/v1/me')
  const byPerson = items.filter(({ event, user_id }) => event.startsWith('secret_key_') && user_id === user.id)
  t.same(byPerson.map(({ event, outcome }) => `${event} ${outcome}`).reverse(), [
    'secret_key_activated ok',
    'secret_key_retire_refused refused',
    'secret_key_retire_refused refused',
    'secret_key_retire_refused refused',
    'secret_key_rewrap_started ok',
    'secret_key_rewrap_finished ok',
    'secret_key_retired ok',
  ])
  const told = [JSON.stringify(await list()), JSON.stringify(items), platform.logs(), await platform.dumpDatabase()]
  for (const encoding of ['hex', 'base64', 'base64url'] as const) {
    const material = nextKey.toString(encoding).replace(/=+$/, '')
    t.notOk(told.join('\n').includes(material), `no key in ${encoding}`)
  }
})
