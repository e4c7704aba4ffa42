import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { newCanary, startPlatform, startProcess, startShadow, targetOf, waitFor } from '@rap/testkit'
import t from 'tap'
import { bindDesktop, endSession } from './desktop.ts'
import { processTree, searchMemory } from './memory.ts'
import { newClientKey, type Started } from './wire-client.ts'

if (process.platform !== 'linux') {
  t.plan(0, 'the memory of a process is looked into through /proc')
  process.exit(0)
}

const canary = newCanary()
// Marks that JSON escapes and letters beyond ASCII, so that no easy path is taken on the way.
const password = `"\\\u{1f511}é${canary}`
const shadow = await startShadow({ username: 'svc', password, security: 'nla' })
t.teardown(() => shadow.stop())
const rightTarget = targetOf(shadow, { name: 'right', credential: { username: 'svc', password }, security: 'nla' })
const platform = await startPlatform({ targets: [rightTarget] })
t.teardown(() => platform.stop())
const { api, authority, admin, apiUrl } = platform
const key = await newClientKey()

/** The services that must never see a password, whatever happens. */
function strangers(): [string, number][] {
  return [
    ['control-plane', platform.controlPlane.pid],
    ['gateway', platform.gateway?.pid ?? 0],
  ]
}

/** Every process of Redis and Postgres. */
function stores(): [string, number][] {
  return processTree(process.pid).flatMap((pid): [string, number][] => {
    const name = readFileSync(`/proc/${pid}/comm`, 'latin1').trim()
    return name === 'postgres' || name === 'redis-server' ? [[name, pid]] : []
  })
}

function servants(): [string, number][] {
  return [
    ['secret-resolver', platform.secretResolver.pid],
    ['rdp-worker', platform.workers[0]?.pid ?? 0],
  ]
}

/** The names of the processes that hold some of the secret. */
function holders(processes: readonly [string, number][], secret = canary): string[] {
  return processes.flatMap(([name, pid]) =>
    searchMemory(pid, secret).map(({ form, around }) => `${name}: ${form} ${around}`),
  )
}

async function start(resourceId = platform.resources[0]?.id): Promise<Started> {
  return await api.call('POST', '/v1/sessions', { body: { resource_id: resourceId, dpop_jkt: key.jkt } })
}

t.test('from the resolve to the logon the worker holds the password once, and nobody else any of it', async t => {
  const started = await start()
  const [, worker] = servants()
  const found = searchMemory(worker?.[1] ?? 0, canary)
  t.same(
    found.map(({ form }) => form),
    ['first half, utf16le', 'second half, utf16le'],
    'one copy, of which the search finds both halves',
  )
  t.same(holders([...strangers(), ...servants().slice(0, 1)]), [])
  await endSession(platform, started)
})

t.test('once the desktop is up, nothing of the password is left anywhere', async t => {
  for (const path of ['direct', 'gateway'] as const) {
    const desktop = await bindDesktop(platform, await start(), { path, key })
    t.same(holders(servants()), [], `${path}`)
    await endSession(platform, desktop.started)
  }
  t.same(holders(servants()), [], 'and after it is closed')
})

t.test('a session that ends before its client came leaves nothing of the password', async t => {
  const started = await start()
  await endSession(platform, started)
  const ended = new RegExp(`attachment_ended.*${started.attachment.id}`)
  await waitFor(() => ended.test(platform.workers[0]?.log() ?? ''), { what: 'the end in the worker' })
  t.same(holders(servants()), [])
})

t.test('a logon that fails leaves nothing of the password', async t => {
  const wrong = newCanary()
  const credential = { username: 'svc', password: wrong }
  const { id } = await platform.addTarget(targetOf(shadow, { name: 'wrong', credential, security: 'nla' }))
  const { body } = await api.send('POST', '/v1/sessions', { body: { resource_id: id, dpop_jkt: key.jkt } })
  t.match(body, { code: 'ERR_TARGET_LOGON_FAILED' })
  const foreign = { name: 'foreign', credential: { username: 'svc', password: wrong }, security: 'nla' } as const
  const changed = await platform.addTarget({ ...targetOf(shadow, foreign), certificatePins: ['00'.repeat(32)] })
  const refused = await api.send('POST', '/v1/sessions', { body: { resource_id: changed.id, dpop_jkt: key.jkt } })
  t.match(refused.body, { code: 'ERR_TARGET_CERTIFICATE_MISMATCH' })
  t.same(holders(servants(), wrong), [])
})

t.test('neither a client nor a service that has no business with it ever holds any of the password', async t => {
  const client = await startProcess({
    name: 'client',
    command: process.execPath,
    args: [join(import.meta.dirname, 'client-process.ts')],
    input: JSON.stringify({
      baseUrl: apiUrl,
      caPem: authority.certificatePem,
      ...admin,
      resourceId: platform.resources[0]?.id,
    }),
    readyWhen: /desktop is up/,
    readyTimeoutMs: 60_000,
  })
  t.teardown(() => client.stop())
  t.ok(searchMemory(client.pid, admin.password).length > 0, 'the search finds what is there')
  t.same(holders([['client', client.pid], ...strangers(), ...stores()]), [], 'nor does anybody else')
})
