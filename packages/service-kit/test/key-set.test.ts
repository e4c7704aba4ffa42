import { createHash, randomUUID, webcrypto } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { waitFor } from '@rap/testkit'
import { JWKS_MAX_AGE_SECONDS, publicJwkOf } from '@rap/token-claims'
import t from 'tap'
import { KEY_SET_COOLDOWN_MS, remoteKeySet } from '../src/index.ts'
import { platform, silentLogger } from './helper.ts'

// Each waits on a server and a key set of its own.
t.jobs = 5
const authority = await platform()

async function publicKey() {
  const { publicKey } = await webcrypto.subtle.generateKey(
    { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['sign', 'verify'],
  )
  return await publicJwkOf(publicKey)
}

const first = await publicKey()
const second = await publicKey()
const MINUTE_MS = 60_000

/** A control plane that serves `state.document` with `state.status`, and a key set with a clock of its own. */
async function keySet(t: Tap, options: { refreshMs?: number } = {}) {
  const state = {
    document: { keys: [first] } as unknown,
    status: 200,
    isHanging: false,
    /** Whether a 304 tells the length of what it does not send. */
    tellsLength: false,
    requests: [] as (string | undefined)[],
    now: 0,
    ca: authority.caPem,
  }
  const tls = await authority.issue('service/control-plane')
  const server = createServer({ cert: tls.cert, key: tls.key }, (request, response) => {
    const { 'if-none-match': condition } = request.headers
    state.requests.push(condition)
    if (state.isHanging) return
    const body = typeof state.document === 'string' ? state.document : JSON.stringify(state.document)
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
    const status = state.status === 200 && condition === etag ? 304 : state.status
    response.writeHead(status, {
      'content-type': 'application/json',
      location: '/other',
      etag,
      ...(status === 304 && state.tellsLength && { 'content-length': body.length }),
    })
    response.end(status === 304 ? undefined : body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const keys = remoteKeySet({
    url: `https://localhost:${(server.address() as AddressInfo).port}/.well-known/jwks.json`,
    tls: () => ({ ca: state.ca }),
    logger: silentLogger,
    now: () => state.now,
    ...options,
  })
  return { keys, state }
}

interface Tap {
  teardown(run: () => unknown): void
}

t.test('a known key is answered from memory, and many lookups at once make one fetch', async t => {
  const { keys, state } = await keySet(t)
  const found = await Promise.all(Array.from({ length: 20 }, () => keys.lookup(first.kid)))
  t.ok(found.every(key => key !== undefined))
  t.ok(await keys.lookup(first.kid))
  t.equal(state.requests.length, 1)
})

t.test(
  'a key that came into use without a warning is found, and a key that is out of the set is out of use',
  async t => {
    const { keys, state } = await keySet(t)
    await keys.lookup(first.kid)
    state.document = { keys: [second] }
    t.ok(await keys.lookup(second.kid), 'also right behind another fetch')
    t.notOk(await keys.lookup(first.kid))
  },
)

t.test('a flood of made-up key ids costs one fetch a second, and never the token whose key is new', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  let isOver = false
  const began = performance.now()
  const attackers = Array.from({ length: 100 }, async () => {
    while (!isOver) t.notOk(await keys.lookup(randomUUID()))
  })
  await waitFor(() => state.requests.length >= 2, { what: 'the flood to have an effect' })
  const { length } = state.requests
  t.ok(await keys.lookup(first.kid))
  t.equal(state.requests.length, length, 'a known key does not wait for a fetch')
  state.document = { keys: [first, second] }
  const waiting = Array.from({ length: 20 }, () => keys.lookup(second.kid))
  t.ok((await Promise.all(waiting)).every(key => key !== undefined))
  isOver = true
  await Promise.all(attackers)
  const seconds = (performance.now() - began) / KEY_SET_COOLDOWN_MS
  t.ok(state.requests.length <= seconds + 2, `${state.requests.length} fetches in ${seconds} seconds`)
})

t.test('a key that is taken back stops to count within 30 seconds', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.document = { keys: [second] }
  state.now += JWKS_MAX_AGE_SECONDS * 1000 - 1
  t.ok(await keys.lookup(first.kid))
  state.now += 1
  t.notOk(await keys.lookup(first.kid))
  t.equal(JWKS_MAX_AGE_SECONDS, 30)
})

t.test('a set that has not changed is confirmed and not sent again', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.now += 31_000
  t.ok(await keys.lookup(first.kid))
  t.match(state.requests, [undefined, /^".+"$/])
  state.tellsLength = true
  state.now += 31_000
  t.ok(await keys.lookup(first.kid))
  t.match(state.requests.slice(-2), [/^".+"$/, undefined], 'asked again where a cache in between tells its length')
  state.document = { keys: [second] }
  state.now += 31_000
  t.ok(await keys.lookup(second.kid))
  t.equal(await keys.ready(), true)
})

t.test('while keys are in use the set is fetched ahead, and no longer', async t => {
  const { keys, state } = await keySet(t, { refreshMs: 10 })
  await keys.lookup(first.kid)
  await waitFor(() => state.requests.length >= 2, { what: 'a fetch that nobody waits for' })
  state.now += 16 * MINUTE_MS
  const { length } = state.requests
  await new Promise(resolve => setTimeout(resolve, KEY_SET_COOLDOWN_MS + 200))
  t.ok(state.requests.length <= length + 1, 'at most the one that was under way')
})

t.test('the last set counts while the control plane is away, and not for ever', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.status = 503
  state.now += 6 * MINUTE_MS
  t.ok(await keys.lookup(first.kid))
  t.ok(await keys.ready())
  await t.rejects(async () => await keys.lookup(second.kid), { code: 'ERR_UPSTREAM_UNAVAILABLE' }, 'nobody knows of it')
  state.now += 10 * MINUTE_MS
  t.equal(await keys.ready(), false)
  await t.rejects(async () => await keys.lookup(first.kid), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  state.status = 200
  state.now += KEY_SET_COOLDOWN_MS
  t.ok(await keys.lookup(first.kid), 'and it recovers')
})

t.test('a control plane that does not answer keeps no second token waiting', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.isHanging = true
  state.now += MINUTE_MS
  t.ok(await keys.lookup(first.kid), 'the first one waits for the end of a fetch')
  for (let number = 0; number < 5; number++) {
    state.now += MINUTE_MS
    const asked = performance.now()
    t.ok(await keys.lookup(first.kid))
    t.ok(performance.now() - asked < 1000)
  }
})

t.test('a new key is found right after the control plane was away', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.now += MINUTE_MS
  state.status = 503
  await keys.lookup(first.kid)
  await waitFor(() => state.requests.length === 2, { what: 'the fetch that fails' })
  await t.rejects(
    async () => await keys.lookup(second.kid),
    { code: 'ERR_UPSTREAM_UNAVAILABLE' },
    'and nothing is said of it until then',
  )
  state.now += MINUTE_MS
  Object.assign(state, { status: 200, document: { keys: [first, second] } })
  t.ok(await keys.lookup(second.kid))
})

t.test('nothing but a key set from the trusted control plane gives a key', async t => {
  const cases: [string, { document?: unknown; status?: number; ca?: string }][] = [
    ['not JSON', { document: '{' }],
    ['no set', { document: {} }],
    ['too many keys', { document: { keys: Array(100).fill(first) } }],
    ['too large', { document: { keys: [first], padding: 'x'.repeat(70_000) } }],
    ['a redirect', { status: 307 }],
    ['another authority', { ca: (await platform()).caPem }],
  ]
  for (const [name, bent] of cases) {
    const { keys, state } = await keySet(t)
    Object.assign(state, bent)
    await t.rejects(async () => await keys.lookup(first.kid), { code: 'ERR_UPSTREAM_UNAVAILABLE' }, name)
    t.equal(await keys.ready(), false, name)
  }
  const { keys, state } = await keySet(t)
  state.document = { keys: [{ kty: 'oct', k: 'AA', kid: 'a', alg: 'HS256', use: 'sig' }] }
  t.notOk(await keys.lookup('a'), 'a symmetric key is none')
})
