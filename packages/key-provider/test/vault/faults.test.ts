import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { TransitFault } from '@rap/testkit'
import { freePort, startTransit } from '@rap/testkit'
import t from 'tap'
import { openVaultSource } from '../../src/vault/index.ts'
import { CONTEXT, contractDesk, errorOf, under } from './helper.ts'

interface Row {
  readonly fault: TransitFault
  readonly code: string
  readonly facts: Record<string, unknown>
  /** How often the request is sent. */
  readonly tries: number
}

const status = (
  status: number,
  errors: readonly string[] = [],
  headers: Record<string, string> = {},
): TransitFault => ({
  kind: 'status',
  status,
  errors,
  headers,
})
const unavailable = (fault: TransitFault, facts: Record<string, unknown>, tries: number): Row => ({
  fault,
  code: 'ERR_KEY_UNAVAILABLE',
  facts,
  tries,
})

const ROWS: Readonly<Record<string, Row>> = {
  sealed: unavailable(status(503, ['Vault is sealed']), { status: 503, reason: 'sealed' }, 3),
  'sealed behind a token check': unavailable(
    status(503, ['error performing token check: Vault is sealed']),
    { reason: 'sealed' },
    3,
  ),
  'a standby without an active node': unavailable(status(503, ['node is not active']), { reason: 'server_error' }, 3),
  'a standby by its health code': unavailable(status(473), { reason: 'standby' }, 3),
  'a recovery standby by its health code': unavailable(status(472), { reason: 'standby' }, 3),
  'not initialized': unavailable(status(501), { reason: 'not_initialized' }, 3),
  'a replica that is behind': unavailable(status(412), { reason: 'behind' }, 3),
  throttled: unavailable(status(429, ['rate limit quota exceeded']), { status: 429, reason: 'throttled' }, 3),
  'throttled for longer than a call may take': unavailable(
    status(429, [], { 'retry-after': '120' }),
    { reason: 'throttled', retry_after_s: 120 },
    1,
  ),
  'an error of the server': unavailable(status(500, ['1 error occurred']), { status: 500, reason: 'server_error' }, 3),
  'a bad gateway': unavailable(status(502), { status: 502, reason: 'server_error' }, 3),
  'a cut connection': unavailable({ kind: 'cut', after: false }, { reason: 'not_reachable' }, 3),
  'a cut connection after the work': unavailable({ kind: 'cut', after: true }, { reason: 'not_reachable' }, 3),
  'half an answer': unavailable({ kind: 'half' }, { reason: 'not_reachable' }, 3),
  'no answer': unavailable({ kind: 'hang' }, { reason: 'timeout' }, 1),
  'an endless answer': unavailable({ kind: 'endless' }, { reason: 'answer', cause_code: 'too_large' }, 1),
  'an answer that is no JSON': unavailable({ kind: 'body', body: '<html>' }, { reason: 'answer' }, 1),
  'an empty answer': unavailable({ kind: 'body', body: '' }, { reason: 'answer' }, 1),
  'a redirection to another host': unavailable(
    { kind: 'redirect', location: 'https://127.0.0.2:8200/v1/elsewhere' },
    { status: 307, reason: 'redirect' },
    1,
  ),
  'a redirection to another path': unavailable(
    { kind: 'redirect', location: '/v1/sys/seal' },
    { reason: 'redirect' },
    1,
  ),
  forbidden: { fault: status(403, ['permission denied']), code: 'ERR_KEY_FORBIDDEN', facts: { status: 403 }, tries: 1 },
  'a path that is not there': {
    fault: status(404, ['no handler for route']),
    code: 'ERR_KEY_NOT_FOUND',
    facts: { reason: 'path' },
    tries: 1,
  },
  'a soft-deleted key': {
    fault: status(400, ['refusing to use soft-deleted key']),
    code: 'ERR_KEY_NOT_FOUND',
    facts: { reason: 'soft_deleted' },
    tries: 1,
  },
  archived: {
    fault: status(400, ['ciphertext or signature version is disallowed by policy (too old)']),
    code: 'ERR_KEY_VERSION_ARCHIVED',
    facts: { status: 400 },
    tries: 1,
  },
  'a refusal with other words': {
    fault: status(400, ['something new']),
    code: 'ERR_KEY_CONFIGURATION',
    facts: { status: 400, reason: 'refused' },
    tries: 1,
  },
}

t.test('every fault ends in its code and reason, after as many tries as may help', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  const hasty = (await desk.source({ timeout_ms: 800 })).key('main:v1')!
  t.equal((await hasty.unwrap(wrapped, CONTEXT)).length, 32)
  const newest = source.key(await source.rotate!())!
  const calls = {
    encrypt: () => key.wrap(randomBytes(32), CONTEXT),
    decrypt: () => key.unwrap(wrapped, CONTEXT),
    rewrap: () => newest.rewrap!(under(wrapped), CONTEXT),
    datakey: () => newest.generateDataKey!(CONTEXT),
  }
  for (const [name, { fault, code, facts, tries }] of Object.entries(ROWS)) {
    // The same code reads every answer; one slow fault is enough of a wait.
    const operations =
      fault.kind === 'hang' ? (['decrypt'] as const) : (['encrypt', 'decrypt', 'rewrap', 'datakey'] as const)
    await Promise.all(
      operations.map(async operation => {
        const path = `${desk.mount}/${operation}`
        const sent = () => desk.server.requests.filter(request => request.path.startsWith(path)).length
        const before = sent()
        const off = desk.server.inject(fault, { path })
        const error = await errorOf(fault.kind === 'hang' ? hasty.unwrap(wrapped, CONTEXT) : calls[operation]())
        off()
        t.match(error, { code, facts: { source: 'main', operation, ...facts } }, `${name}: ${operation}`)
        t.equal(error.cause, undefined, 'and nothing of the transport is kept')
        t.equal(sent() - before, tries, `${name}: ${operation}, tries`)
      }),
    )
  }
  t.same((await key.unwrap(wrapped, CONTEXT)).length, 32, 'and afterwards all is well')
})

t.test('a fault that passes is not seen by the caller', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const dataKey = randomBytes(32)
  const passing: readonly TransitFault[] = [
    status(503, ['Vault is sealed']),
    status(429, [], { 'retry-after': '0' }),
    status(500),
    { kind: 'cut', after: true },
    { kind: 'redirect', location: `${desk.server.address}/v1/${desk.mount}/encrypt/rap` },
  ]
  for (const fault of passing) {
    desk.server.inject(fault, { path: `${desk.mount}/encrypt`, times: 2 })
    t.same(await key.unwrap(await key.wrap(dataKey, CONTEXT), CONTEXT), dataKey, JSON.stringify(fault))
  }
  desk.server.inject({ kind: 'slow', delayMs: 50 })
  t.same(await key.unwrap(await key.wrap(dataKey, CONTEXT), CONTEXT), dataKey, 'slow')
})

t.test('Retry-After is kept', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  desk.server.inject(status(429, [], { 'retry-after': '1' }), { path: `${desk.mount}/encrypt`, times: 1 })
  const before = performance.now()
  await key.wrap(randomBytes(32), CONTEXT)
  t.ok(performance.now() - before >= 1000)
})

t.test('a rotation and a creation are sent once, whatever comes back', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const sentTo = (path: string) =>
    desk.server.requests.filter(request => request.path === `${desk.mount}/${path}`).length
  desk.server.inject({ kind: 'cut', after: true }, { path: `${desk.mount}/keys/rap/rotate` })
  await source.create!()
  await t.rejects(source.rotate!(), { code: 'ERR_KEY_UNAVAILABLE' })
  t.equal(sentTo('keys/rap/rotate'), 1)
  t.equal((await desk.api('GET', `${desk.mount}/keys/rap`)).body.data.latest_version, 2, 'it was done all the same')
  const other = await desk.source({ key: 'other' })
  desk.server.inject(status(500), { path: `${desk.mount}/keys/other`, times: 0 })
  t.equal(await other.create!(), 'main:v1')
})

t.test('a sealed server is unavailable, and is used again once it is unsealed', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  desk.server.seal()
  await t.rejects(key.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'sealed' } })
  t.equal(await source.health(), 'the server is sealed (status 503)')
  const late = await desk.source()
  await t.rejects(late.newestKeyId(), { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'sealed', operation: 'lookup' } })
  desk.server.unseal()
  t.equal((await key.unwrap(wrapped, CONTEXT)).length, 32)
  t.equal(await source.health(), 'ok')
})

t.test('nobody at the address, and a peer that speaks no TLS, are unavailable', async t => {
  const desk = await contractDesk(t)
  const nobody = await desk.source({ address: `https://127.0.0.1:${await freePort()}` })
  const refused = { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'not_reachable', cause_code: 'ECONNREFUSED' } }
  await t.rejects(nobody.newestKeyId(), refused)
  t.equal(await nobody.health(), 'the server cannot be reached')
  const plain = createServer(socket => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))
  plain.listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.teardown(() => plain.close())
  const { port } = plain.address() as { port: number }
  const mute = await desk.source({ address: `https://127.0.0.1:${port}` })
  await t.rejects(mute.newestKeyId(), { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'tls' } })
})

t.test('a server of another authority or another name gets no token', async t => {
  const desk = await contractDesk(t)
  const stranger = await startTransit()
  t.teardown(() => stranger.stop())
  const source = await desk.source({ address: stranger.address })
  await t.rejects(source.newestKeyId(), { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'tls' } })
  t.equal(await source.health(), 'the server is not who it should be, or speaks no TLS that we take')
  t.same(stranger.requests, [])
  const { port } = new URL(desk.server.address)
  const renamed = await desk.source({ address: `https://localhost:${port}` })
  const wrongName = await errorOf(renamed.newestKeyId())
  t.match(wrongName.facts, { reason: 'tls', cause_code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  const { ca_file: _, ...options } = await desk.options()
  const system = await openVaultSource(options, {})
  t.teardown(() => system.destroy())
  const unknown = await errorOf(system.newestKeyId())
  t.match(unknown.facts, { reason: 'tls' }, 'nor does one that the system does not know')
  t.same(
    desk.server.requests.filter(request => request.path.startsWith('auth/')),
    [],
  )
})

t.test('after destroy nothing is sent, and what is under way ends', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  desk.server.inject({ kind: 'hang' })
  const underWay = errorOf(key.unwrap(wrapped, CONTEXT))
  const sent = desk.server.requests.length
  while (desk.server.requests.length === sent) await new Promise(resolve => setImmediate(resolve))
  source.destroy()
  t.match(await underWay, { code: 'ERR_KEY_DESTROYED' })
  const destroyed = { code: 'ERR_KEY_DESTROYED' }
  for (const use of [
    () => key.wrap(randomBytes(32), CONTEXT),
    () => key.unwrap(wrapped, CONTEXT),
    () => key.rewrap!(under(wrapped), CONTEXT),
    () => key.generateDataKey!(CONTEXT),
    () => source.newestKeyId(),
    () => source.create!(),
    () => source.rotate!(),
  ]) {
    await t.rejects(async () => await use(), destroyed)
  }
  t.equal(await source.health(), 'key was destroyed')
  t.equal(desk.server.requests.length, sent + 1)
})
