import { randomUUID, webcrypto } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { publicJwkOf } from '@rap/token-claims'
import t from 'tap'
import { KEY_SET_COOLDOWN_MS, remoteKeySet } from '../src/index.ts'
import { platform, silentLogger } from './helper.ts'

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
async function keySet(t: Tap) {
  const state = { document: { keys: [first] } as unknown, status: 200, requests: 0, now: 0, ca: authority.caPem }
  const tls = await authority.issue('service/control-plane')
  const server = createServer({ cert: tls.cert, key: tls.key }, (_request, response) => {
    state.requests += 1
    response.writeHead(state.status, { 'content-type': 'application/json', location: '/other' })
    response.end(typeof state.document === 'string' ? state.document : JSON.stringify(state.document))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise(resolve => server.close(resolve)))
  const keys = remoteKeySet({
    url: `https://localhost:${(server.address() as AddressInfo).port}/.well-known/jwks.json`,
    tls: () => ({ ca: state.ca }),
    logger: silentLogger,
    now: () => state.now,
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
  t.equal(state.requests, 1)
})

t.test('a key that is new is found, and made-up key ids do not become requests', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.document = { keys: [second] }
  for (let number = 0; number < 10; number++) t.notOk(await keys.lookup(randomUUID()))
  t.equal(state.requests, 1)
  state.now += KEY_SET_COOLDOWN_MS
  t.ok(await keys.lookup(second.kid))
  t.notOk(await keys.lookup(first.kid), 'a key that is out of the set is out of use')
  t.equal(state.requests, 2)
})

t.test('the last set counts while the control plane is away, and not for ever', async t => {
  const { keys, state } = await keySet(t)
  await keys.lookup(first.kid)
  state.status = 503
  state.now += 6 * MINUTE_MS
  t.ok(await keys.lookup(first.kid))
  t.ok(await keys.ready())
  state.now += 10 * MINUTE_MS
  t.equal(await keys.ready(), false)
  await t.rejects(async () => await keys.lookup(first.kid), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  state.status = 200
  state.now += KEY_SET_COOLDOWN_MS
  t.ok(await keys.lookup(first.kid), 'and it recovers')
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
