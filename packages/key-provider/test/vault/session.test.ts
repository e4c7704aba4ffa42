import { randomBytes } from 'node:crypto'
import { rename, rm, symlink, writeFile } from 'node:fs/promises'
import { waitFor } from '@rap/testkit'
import fc from 'fast-check'
import t from 'tap'
import { renewalDelayMs } from '../../src/vault/lease.ts'
import { CONTEXT, contractDesk, errorOf, expectDone, servicePolicy } from './helper.ts'

/** Most of these wait for a token's time to pass. */
t.jobs = 8

type Desk = Awaited<ReturnType<typeof contractDesk>>
const paths = (desk: Desk) => desk.server.requests.map(request => request.path)
const logIns = (desk: Desk) => paths(desk).filter(path => path.endsWith('/login')).length

/** A server on which no time passes: nothing ends there because this machine was slow. */
const timeless = () => {
  const now = Date.now()
  return { now: () => now }
}

/** The most log-ins that pauses of at least 125, 250, 500 ms and so on allow in this time. */
const mostLogIns = (ms: number) => 1 + Math.floor(Math.log2(ms / 125 + 1))

async function appRoleDesk(
  t: Parameters<typeof contractDesk>[0],
  role: Record<string, unknown> = {},
  options: Parameters<typeof contractDesk>[1] = {},
) {
  const desk = await contractDesk(t, options)
  await (await desk.source()).create!()
  return { desk, auth: await desk.appRole(servicePolicy(desk.mount, 'rap'), role) }
}

t.test('opening a source asks the server nothing', async t => {
  const desk = await contractDesk(t)
  const sent = desk.server.requests.length
  const source = await desk.source()
  source.key('main:v1')!.describe()
  t.equal(desk.server.requests.length, sent)
})

t.test('concurrent first uses log in once, and read the key once', async t => {
  const { desk, auth } = await appRoleDesk(t)
  const source = await desk.source({ auth })
  const sent = desk.server.requests.length
  desk.server.inject({ kind: 'slow', delayMs: 20 })
  await Promise.all(Array.from({ length: 40 }, () => source.key('main:v1')!.wrap(randomBytes(32), CONTEXT)))
  const asked = paths(desk).slice(sent)
  t.equal(asked.filter(path => path.endsWith('/login')).length, 1)
  t.equal(asked.filter(path => path === `${desk.mount}/keys/rap`).length, 1)
  t.equal(asked.filter(path => path === `${desk.mount}/encrypt/rap`).length, 40)
})

t.test('a log-in sends no token, and every request says that it is one', async t => {
  const { desk, auth } = await appRoleDesk(t)
  const sent = desk.server.requests.length
  const source = await desk.source({ auth })
  await source.newestKeyId()
  const [login, read] = desk.server.requests.slice(sent)
  t.equal(login?.headers['x-vault-token'], undefined)
  t.match(read?.headers['x-vault-token'], /^hvs\./)
  for (const request of [login, read]) t.equal(request?.headers['x-vault-request'], 'true')
})

t.test('a renewal comes at two thirds of a lease, or up to a tenth of it before', async t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 900_000 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (ttl, random) => {
      const share = renewalDelayMs(ttl, random) / (ttl * 1000)
      return 0.56 < share && share <= 2 / 3
    }),
  )
  t.ok(renewalDelayMs(3_153_600_000, 0) < 2 ** 31, 'and a timer of Node can hold it')
})

t.test('a token is renewed before it ends, without another log-in', async t => {
  const { desk, auth } = await appRoleDesk(t, { token_ttl: '3s' }, timeless())
  const source = await desk.source({ auth })
  await source.newestKeyId()
  const began = performance.now()
  const renewals = () => paths(desk).filter(path => path === 'auth/token/renew-self').length
  await waitFor(() => renewals() === 1, { what: 'a renewal' })
  const took = performance.now() - began
  t.ok(1600 < took, `not before its time: ${took} ms`)
  await waitFor(() => renewals() === 2, { what: 'a second renewal' })
  t.equal(await source.health(), 'ok')
  t.equal(logIns(desk), 1)
  source.destroy()
})

t.test('a token that is not renewable, and one near its maximum, are replaced by a log-in', async t => {
  for (const role of [
    { token_ttl: '1s', token_max_ttl: '1s' },
    { token_ttl: '1s', token_max_ttl: '1s', unrenewable: true },
  ]) {
    const { desk, auth } = await appRoleDesk(t, role)
    if ('unrenewable' in role) {
      desk.server.inject({ kind: 'change', section: 'auth', change: auth => ({ ...auth, renewable: false }) })
    }
    const source = await desk.source({ auth })
    await source.newestKeyId()
    await waitFor(() => logIns(desk) >= 3, { what: 'two more log-ins' })
    t.equal(await source.health(), 'ok')
    t.equal(
      paths(desk).some(path => path === 'auth/token/renew-self'),
      !('unrenewable' in role),
    )
    source.destroy()
  }
})

t.test('a renewal that fails for now is tried again while the token lasts', async t => {
  const { desk, auth } = await appRoleDesk(t, { token_ttl: '12s' }, timeless())
  const source = await desk.source({ auth })
  await source.newestKeyId()
  desk.server.inject({ kind: 'status', status: 500 }, { path: 'auth/token/renew-self', times: 1 })
  const renewed = () =>
    desk.server.requests.filter(request => request.path === 'auth/token/renew-self').map(request => request.status)
  await waitFor(() => renewed().includes(200), { what: 'a renewal that succeeds' })
  t.same(renewed(), [500, 200])
  t.equal(logIns(desk), 1)
})

t.test('a revoked token costs one log-in, however many requests it fails', async t => {
  const { desk, auth } = await appRoleDesk(t)
  const source = await desk.source({ auth })
  const key = source.key(await source.newestKeyId())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  desk.server.revokeTokens()
  const opened = await Promise.all(Array.from({ length: 30 }, () => key.unwrap(wrapped, CONTEXT)))
  t.equal(opened.length, 30)
  t.equal(logIns(desk), 2)
})

t.test('a policy that forbids makes no storm of log-ins', async t => {
  const desk = await contractDesk(t)
  const root = await desk.source()
  const wrapped = await root.key(await root.create!())!.wrap(randomBytes(32), CONTEXT)
  const policy = servicePolicy(desk.mount, 'rap')
    .split('\n')
    .filter(line => !line.includes('/decrypt/'))
  const source = await desk.source({ auth: await desk.appRole(policy.join('\n')) })
  const began = performance.now()
  const key = source.key('main:v1')!
  const forbidden = { code: 'ERR_KEY_FORBIDDEN' }
  await Promise.all(Array.from({ length: 30 }, () => t.rejects(key.unwrap(wrapped, CONTEXT), forbidden)))
  for (let use = 0; use < 10; use++) await t.rejects(key.unwrap(wrapped, CONTEXT), forbidden)
  // One more, and another one every ten seconds.
  const most = 2 + Math.floor((performance.now() - began) / 10_000)
  t.ok(2 <= logIns(desk) && logIns(desk) <= most, `${logIns(desk)} log-ins`)
  t.equal((await key.wrap(randomBytes(32), CONTEXT)).subarray(0, 9).toString(), 'vault:v1:', 'what is allowed goes on')
})

t.test('a refused log-in is not tried again at once, and is tried at once with another credential', async t => {
  const { desk, auth } = await appRoleDesk(t)
  const { secret_id_file: file } = auth as { secret_id_file: string }
  const good = await desk.file('')
  await rename(file, good)
  await writeFile(file, 'wrong', { mode: 0o600 })
  const source = await desk.source({ auth })
  const began = performance.now()
  for (let use = 0; use < 20; use++) {
    await t.rejects(source.newestKeyId(), {
      code: 'ERR_KEY_FORBIDDEN',
      facts: { reason: 'credential', operation: 'login' },
    })
  }
  const most = mostLogIns(performance.now() - began)
  t.ok(logIns(desk) <= most, `${logIns(desk)} log-ins for 20 uses, ${most} at most`)
  await rename(good, file)
  t.equal(await source.newestKeyId(), 'main:v1')
})

t.test('the pause after failed log-ins grows', async t => {
  const { desk, auth } = await appRoleDesk(t)
  desk.server.inject({ kind: 'status', status: 500 }, { path: `auth/${desk.mount}-approle/login` })
  const source = await desk.source({ auth })
  const began = performance.now()
  while (performance.now() - began < 2000 || logIns(desk) < 2) {
    await t.rejects(source.newestKeyId(), { code: 'ERR_KEY_UNAVAILABLE', facts: { operation: 'login' } })
  }
  const ms = performance.now() - began
  t.ok(logIns(desk) <= mostLogIns(ms), `${logIns(desk)} log-ins in ${Math.round(ms)} ms`)
})

t.test('a token file is read again when it changes, in place or by a link, and nothing else is tried', async t => {
  const desk = await contractDesk(t)
  await (await desk.source()).create!()
  const first = await desk.file(desk.server.makeToken({ policies: ['root'], ttlSeconds: 3600 }))
  const link = `${first}-link`
  await symlink(first, link)
  const source = await desk.source({ auth: { method: 'token', token_file: link } })
  const key = source.key(await source.newestKeyId())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  await writeFile(first, 'revoked')
  await t.rejects(
    (async () => {
      // Up to a second the old token is used.
      for (;;) await key.unwrap(wrapped, CONTEXT)
    })(),
    { code: 'ERR_KEY_FORBIDDEN' },
  )
  const second = await desk.file(desk.server.makeToken({ policies: ['root'], ttlSeconds: 3600 }))
  await rm(link)
  await symlink(second, link)
  t.equal((await key.unwrap(wrapped, CONTEXT)).length, 32, 'a 403 looks at the file at once')
})

t.test('a token file that cannot be used yet takes nothing away from the token that is there', async t => {
  const desk = await contractDesk(t)
  await (await desk.source()).create!()
  const make = () => desk.server.makeToken({ policies: ['root-like'], ttlSeconds: 3600 })
  await expectDone(desk.api('POST', 'sys/policies/acl/root-like', { policy: servicePolicy(desk.mount, 'rap') }))
  const file = await desk.file(make())
  const source = await desk.source({ auth: { method: 'token', token_file: file } })
  const key = source.key(await source.newestKeyId())!
  const off = desk.server.inject({ kind: 'status', status: 500 }, { path: 'auth/token/lookup-self' })
  const second = make()
  const lookUps = () => paths(desk).filter(path => path === 'auth/token/lookup-self').length
  for (const content of ['', 'two words', second]) {
    await writeFile(file, content)
    const before = lookUps()
    const end = performance.now() + 1100
    const isTried = () => (content === second ? lookUps() > before : performance.now() > end)
    while (!isTried()) t.equal((await key.wrap(randomBytes(32), CONTEXT)).subarray(0, 9).toString(), 'vault:v1:')
  }
  off()
  desk.server.revokeTokens()
  // What the look-up said last may still be said, for as long as its pause lasts.
  t.match(
    (await errorOf(key.wrap(randomBytes(32), CONTEXT))).code,
    /^ERR_KEY_(FORBIDDEN|UNAVAILABLE)$/,
    'both are revoked',
  )
  await writeFile(file, make())
  t.equal((await key.wrap(randomBytes(32), CONTEXT)).subarray(0, 9).toString(), 'vault:v1:')
})

t.test('a token of a file is renewed, and its end is told in time where it cannot be', async t => {
  const desk = await contractDesk(t, timeless())
  await (await desk.source()).create!()
  const renewable = await desk.file(desk.server.makeToken({ policies: ['root'], ttlSeconds: 2 }))
  const source = await desk.source({ auth: { method: 'token', token_file: renewable } })
  await source.newestKeyId()
  await waitFor(() => paths(desk).includes('auth/token/renew-self'), { what: 'a renewal' })
  t.equal(await source.health(), 'ok')
  const ending = await desk.file(desk.server.makeToken({ policies: ['root'], ttlSeconds: 2, isRenewable: false }))
  const events: unknown[] = []
  const log = (fields: Readonly<Record<string, unknown>>) => void events.push(fields.event)
  const other = await desk.source(
    { auth: { method: 'token', token_file: ending } },
    { logger: { info: log, warn: log } },
  )
  await other.newestKeyId()
  await waitFor(() => events.length === 2, { what: 'a warning' })
  t.same(events, ['vault_logged_in', 'vault_token_ends'])
})

t.test('a token without the right to look itself up is used as it is', async t => {
  const desk = await contractDesk(t)
  await (await desk.source()).create!()
  desk.server.inject({ kind: 'status', status: 403, errors: ['permission denied'] }, { path: 'auth/token/lookup-self' })
  t.equal(await (await desk.source()).newestKeyId(), 'main:v1')
})

t.test('Kubernetes log-in takes the token that the file has at each log-in', async t => {
  const desk = await contractDesk(t)
  await (await desk.source()).create!()
  const mount = `${desk.mount}-kubernetes`
  await expectDone(desk.api('POST', `sys/auth/${mount}`, { type: 'kubernetes' }))
  await expectDone(desk.api('POST', 'sys/policies/acl/pods', { policy: servicePolicy(desk.mount, 'rap') }))
  const bound = {
    bound_service_account_names: 'resolver',
    bound_service_account_namespaces: 'rap',
    token_policies: 'pods',
  }
  await expectDone(desk.api('POST', `auth/${mount}/role/resolver`, bound))
  const first = desk.server.serviceAccountToken(mount, 'rap', 'resolver')
  const file = await desk.file(first, 0o644)
  const auth = { method: 'kubernetes', mount, role: 'resolver', jwt_file: file } as const
  const source = await desk.source({ auth })
  t.equal(await source.newestKeyId(), 'main:v1')
  const second = desk.server.serviceAccountToken(mount, 'rap', 'resolver')
  await writeFile(file, `${second}\n`)
  desk.server.revokeTokens()
  t.equal((await source.key('main:v1')!.wrap(randomBytes(32), CONTEXT)).subarray(0, 9).toString(), 'vault:v1:')
  const sent = desk.server.requests.filter(request => request.path === `auth/${mount}/login`)
  t.same(
    sent.map(request => JSON.parse(request.body.toString())),
    [
      { role: 'resolver', jwt: first },
      { role: 'resolver', jwt: second },
    ],
  )
  for (const [namespace, account] of [
    ['rap', 'gateway'],
    ['other', 'resolver'],
  ] as const) {
    const other = await desk.file(desk.server.serviceAccountToken(mount, namespace, account))
    await t.rejects((await desk.source({ auth: { ...auth, jwt_file: other } })).newestKeyId(), {
      code: 'ERR_KEY_FORBIDDEN',
    })
  }
  await t.rejects((await desk.source({ auth: { ...auth, role: 'nobody' } })).newestKeyId(), {
    code: 'ERR_KEY_FORBIDDEN',
  })
  const absent = await desk.source({ auth: { ...auth, mount: 'nowhere' } })
  await t.rejects(absent.newestKeyId(), { code: 'ERR_KEY_FORBIDDEN' }, 'a mount that is not there')
})

t.test('every request, log-in included, goes to the namespace', async t => {
  const desk = await contractDesk(t, { namespaces: ['team'] })
  const inTeam = await desk.source({ namespace: 'team' })
  await t.rejects(inTeam.newestKeyId(), { code: 'ERR_KEY_NOT_FOUND', facts: { reason: 'path' } })
  await (await desk.source()).create!()
  await t.rejects(inTeam.newestKeyId(), { code: 'ERR_KEY_NOT_FOUND' }, 'a key of the root namespace is not theirs')
  const spaces = new Set(desk.server.requests.map(request => request.headers['x-vault-namespace']))
  t.same(spaces, new Set([undefined, 'team']))
  t.match(inTeam.key('main:v1')!.describe().location, `team/${desk.mount}/keys/rap`)
  await t.rejects((await desk.source({ namespace: 'nobody' })).newestKeyId(), { code: 'ERR_KEY_NOT_FOUND' })
})

t.test('a rotation by somebody else is seen soon', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  await source.create!()
  const other = await desk.source()
  t.equal(await other.rotate!(), 'main:v2')
  await waitFor(async () => (await source.newestKeyId()) === 'main:v2', { what: 'the new version' })
  t.equal(
    await errorOf(source.key('main:v2')!.unwrap(Buffer.from('vault:v1:AAAA'), CONTEXT)).then(error => error.code),
    'ERR_KEY_UNWRAP_FAILED',
  )
})
