import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { createLogger, InternalClient, internalAgent } from '@rap/service-kit'
import { TRUST_DOMAIN } from '@rap/testkit'
import { decodeJti } from '@rap/token-claims'
import t from 'tap'
import { resolveCredentials } from '../../src/credentials/resolve.ts'
import { problem } from '../peer.ts'
import { payloadOf, ResolverPeer } from '../resolver.ts'
import { ClientKey, leaseTokenFor, newPlace, signingSet } from '../signing.ts'

const authority = await createAuthority({ name: 'platform CA', days: 30, now: new Date() })
const resolver = await ResolverPeer.start(t, authority)
const workerId = randomUUID()
const { certificatePem, keyPem } = await issueCertificate({
  authority,
  commonName: 'worker',
  uris: [spiffeId(TRUST_DOMAIN, 'worker', workerId)],
  usages: ['client'],
  now: new Date(),
})
const agent = internalAgent({
  cert: certificatePem,
  key: keyPem,
  ca: authority.certificatePem,
  trustDomain: TRUST_DOMAIN,
  expectedIdentity: 'service/secret-resolver',
})
t.teardown(() => agent.destroy())
const lines: string[] = []
const logger = createLogger({ service: 'rdp-worker', level: 'trace', destination: { write: line => lines.push(line) } })
const client = new InternalClient({ baseUrl: resolver.peer.url, agent, logger })
const leaseToken = await leaseTokenFor(await signingSet(), newPlace(workerId), randomUUID())
const lease = { token: leaseToken, jti: decodeJti(leaseToken) }

async function resolve(signal = new AbortController().signal, timeoutMs = 20_000) {
  return await resolveCredentials(client, lease, { signal, timeoutMs })
}

t.beforeEach(() => {
  resolver.intercept = () => undefined
})

t.test('the account of a lease is resolved with a key made for this one request', async t => {
  resolver.payload = payloadOf('svc', 'pä55 😀')
  const first = await resolve()
  t.match(first, { username: 'svc', domain: '' })
  t.equal(first.password.toString('utf16le'), 'pä55 😀')
  await resolve()
  const [one, two] = resolver.peer.requests.slice(-2)
  t.same(Object.keys(one?.body).sort(), ['lease_token', 'recipient_jwk'])
  t.same(Object.keys(one?.body.recipient_jwk).sort(), ['crv', 'kty', 'x', 'y'], 'no private member')
  t.not(one?.body.recipient_jwk.x, two?.body.recipient_jwk.x)
  t.equal(one?.caller, `spiffe://${TRUST_DOMAIN}/worker/${workerId}`)
})

t.test('a destroyed account is zeros', async t => {
  const credentials = await resolve()
  credentials.destroy()
  credentials.destroy()
  t.ok(credentials.password.length > 0)
  t.ok(credentials.password.every(byte => byte === 0))
})

t.test('a refusal of the resolver is told from a resolver that does not answer', async t => {
  for (const [answer, code, facts] of [
    [problem(403, 'ERR_RESOLVE_DENIED'), 'ERR_TARGET_CREDENTIALS_DENIED', {}],
    [problem(429, 'ERR_RATE_LIMITED'), 'ERR_TARGET_CREDENTIALS_UNAVAILABLE', { cause_code: 'ERR_RATE_LIMITED' }],
    [problem(503, 'ERR_UPSTREAM_UNAVAILABLE'), 'ERR_TARGET_CREDENTIALS_UNAVAILABLE', {}],
    [{ status: 500, body: 'text' }, 'ERR_TARGET_CREDENTIALS_UNAVAILABLE', {}],
  ] as const) {
    resolver.intercept = () => answer
    await t.rejects(resolve(), { code, facts }, code)
  }
})

t.test('an answer that is not the one for this lease opens nothing', async t => {
  const other = await resolver.seal(
    { lease_token: leaseToken, recipient_jwk: (await ClientKey.make()).publicJwk },
    { payload: payloadOf('svc', 'for another key') },
  )
  const answers: readonly (readonly [string, Parameters<typeof resolver.seal>[1] | string | number | null])[] = [
    ['another lease', { jti: 'x'.repeat(32) }],
    ['another type', { header: { typ: 'rap-secret+jwe' } }],
    ['another content encryption', { header: { enc: 'A128GCM' } }],
    ['a payload that is none', { payload: 'canary-payload' }],
    ['an empty payload', { payload: '' }],
    ['a payload that is not UTF-8', { payload: Uint8Array.of(0x7b, 0xff) }],
    ['for another key', other],
    ['no JWE', 'canary-payload'],
    ['a JWE that is too large', `${'A'.repeat(20_000)}....`],
    ['a number', 7],
    ['null', null],
  ]
  for (const [name, change] of answers) {
    resolver.intercept = async ({ body }) => ({
      body: { jwe: typeof change === 'object' && change !== null ? await resolver.seal(body, change) : change },
    })
    const error = await resolve().then(
      () => undefined,
      refused => refused,
    )
    t.match(error, { code: 'ERR_TARGET_CREDENTIALS_UNAVAILABLE', facts: { cause_code: 'answer' } }, name)
    t.notMatch(inspect(error, { depth: 10 }), /canary/, name)
  }
  for (const body of [undefined, null, [], 'text', 7, {}]) {
    resolver.intercept = () => ({ body })
    await t.rejects(resolve(), { code: 'ERR_TARGET_CREDENTIALS_UNAVAILABLE' }, JSON.stringify(body))
  }
})

t.test('a resolver that is away is a failure, and one that restarts is waited for', async t => {
  await resolver.peer.stop()
  await t.rejects(resolve(undefined, 1000), { code: 'ERR_TARGET_CREDENTIALS_UNAVAILABLE' })
  const waiting = resolve()
  await resolver.peer.start()
  t.ok(await waiting)
})

t.test('an abort ends the request with its own reason', async t => {
  const ended = new AbortController()
  resolver.intercept = () => new Promise(() => {})
  const waiting = resolve(ended.signal)
  setTimeout(() => ended.abort(new Error('ended')), 50)
  await t.rejects(waiting, { message: 'ended' })
})

t.test('no log line holds a password, a lease token or an answer', async t => {
  const log = lines.join('')
  for (const word of ['pä55', 'secret"', leaseToken, 'canary']) t.notMatch(log, word)
})
