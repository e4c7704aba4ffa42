import { freePort } from '@rap/testkit'
import t from 'tap'
import { buildPath, MAX_ANSWER_BYTES, makeHttpClient } from '../src/http.ts'
import { platform } from '../src/platform/node.ts'
import { authority, httpServer, json, problem, serverCertificate } from './helper.ts'

function clientOf(origin: string, more: readonly string[] = []) {
  return makeHttpClient({ baseUrl: new URL(origin), fetch: platform.makeFetch(() => more), platform })
}
const GET = { method: 'GET', path: '/', timeoutMs: 60_000 } as const

t.test('a problem document becomes an error with its code, words and ids', async t => {
  const origin = await httpServer(t, (_request, response) => {
    response.setHeader('retry-after', '7')
    problem(response, 502, 'ERR_TARGET_LOGON_FAILED', {
      detail: 'The target refused the account.',
      remedy: 'Write the secret again.',
      session_id: '11111111-1111-4111-8111-111111111111',
    })
  })
  await t.rejects(clientOf(origin).send(GET), {
    name: 'RapError',
    code: 'ERR_TARGET_LOGON_FAILED',
    status: 502,
    detail: 'The target refused the account.',
    remedy: 'Write the secret again.',
    requestId: 'request-1',
    sessionId: '11111111-1111-4111-8111-111111111111',
    retryAfterSeconds: 7,
  })
})

t.test('an error answer of another form keeps its status and passes nothing on', async t => {
  for (const [type, body] of [
    ['text/html', '<h1>Bad gateway</h1>'],
    ['application/problem+json', 'not json'],
    ['application/json', '{"code":"x y","title":5,"request_id":"<script>"}'],
    ['application/json', '[]'],
    ['application/json', 'null'],
  ] as const) {
    const origin = await httpServer(t, (_request, response) =>
      response.writeHead(502, { 'content-type': type }).end(body),
    )
    const error = await clientOf(origin)
      .send(GET)
      .catch(caught => caught)
    t.match(error, { code: 'ERR_HTTP_502', status: 502, detail: undefined, requestId: undefined }, body)
  }
})

t.test('what a problem says beside its words is taken in its form only', async t => {
  const told = async (more: object) => {
    const origin = await httpServer(t, (_request, response) => problem(response, 409, 'ERR_X', more))
    const error = await clientOf(origin)
      .send(GET)
      .catch(caught => caught)
    return [error.reason, error.currentVersion, error.missingOn]
  }
  t.same(await told({ reason: 'ERR_KEY_UNAVAILABLE', current_version: 0, missing_on: ['host-1:42', 'host-2:7'] }), [
    'ERR_KEY_UNAVAILABLE',
    0,
    ['host-1:42', 'host-2:7'],
  ])
  t.same(await told({ reason: '<b>', current_version: '3', missing_on: 'host-1' }), [undefined, undefined, undefined])
  t.same(await told({ reason: 'x'.repeat(101), current_version: 1.5, missing_on: ['<b>', 1, 'host-1:42'] }), [
    undefined,
    undefined,
    ['host-1:42'],
  ])
  t.equal((await told({ missing_on: Array(1000).fill('host') }))[2].length, 256)
})

t.test('long texts of a problem are cut', async t => {
  const origin = await httpServer(t, (_request, response) =>
    problem(response, 400, 'ERR_X', { detail: 'x'.repeat(5000) }),
  )
  const error = await clientOf(origin)
    .send(GET)
    .catch(caught => caught)
  t.equal(error.detail.length, 1000)
})

t.test('an answer that is no JSON, or is over the bound, is refused', async t => {
  const html = await httpServer(t, (_request, response) => response.setHeader('content-type', 'text/html').end('<p>'))
  await t.rejects(clientOf(html).send(GET), { code: 'ERR_RESPONSE_INVALID' })
  const broken = await httpServer(t, (_request, response) =>
    response.setHeader('content-type', 'application/json').end('{'),
  )
  await t.rejects(clientOf(broken).send(GET), { code: 'ERR_RESPONSE_INVALID' })
  const endless = await httpServer(t, (_request, response) => {
    response.setHeader('content-type', 'application/json')
    const chunk = Buffer.alloc(64 * 1024, ' ')
    const write = () => {
      while (response.write(chunk)) if (response.destroyed) return
      response.once('drain', write)
    }
    write()
  })
  await t.rejects(clientOf(endless).send(GET), { code: 'ERR_RESPONSE_TOO_LARGE' })
  const whole = await httpServer(t, (_request, response) => json(response, 'x'.repeat(MAX_ANSWER_BYTES - 2)))
  t.equal((await clientOf(whole).send(GET)).status, 200, 'the bound itself is allowed')
})

t.test('a redirect is not followed, so that a bearer token never leaves for another place', async t => {
  let reached = false
  const other = await httpServer(t, (_request, response) => {
    reached = true
    json(response, {})
  })
  const origin = await httpServer(t, (_request, response) => response.writeHead(307, { location: other }).end())
  await t.rejects(clientOf(origin).send({ ...GET, bearer: 'token' }), { code: 'ERR_NETWORK' })
  t.equal(reached, false)
})

t.test('no answer is a typed network error', async t => {
  await t.rejects(clientOf(`http://127.0.0.1:${await freePort()}`).send(GET), {
    name: 'RapNetworkError',
    code: 'ERR_NETWORK',
    failure: 'network',
    systemCode: 'ECONNREFUSED',
  })
  const silent = await httpServer(t, () => {})
  await t.rejects(clientOf(silent).send({ ...GET, timeoutMs: 100 }), { code: 'ERR_TIMEOUT', failure: 'timeout' })
  await t.rejects(clientOf(silent).send({ ...GET, signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
  const torn = await httpServer(t, (_request, response) => {
    response.setHeader('content-type', 'application/json').write('{')
    setImmediate(() => response.destroy())
  })
  await t.rejects(clientOf(torn).send(GET), { code: 'ERR_NETWORK' })
  const slow = await httpServer(t, (_request, response) => {
    response.setHeader('content-type', 'application/json').write('{')
  })
  await t.rejects(
    clientOf(slow).send({ ...GET, timeoutMs: 200 }),
    { code: 'ERR_TIMEOUT' },
    'the body is bounded in time too',
  )
})

t.test('a server is trusted by the default authorities and by those brought along, never without one', async t => {
  const ca = await authority()
  const origin = await httpServer(t, (_request, response) => json(response, { ok: true }), await serverCertificate(ca))
  await t.rejects(clientOf(origin).send(GET), { code: 'ERR_TLS_UNTRUSTED', failure: 'tls' })
  t.same((await clientOf(origin, [ca.certificatePem]).send(GET)).body, { ok: true })
  const other = await authority()
  await t.rejects(clientOf(origin, [other.certificatePem]).send(GET), { code: 'ERR_TLS_UNTRUSTED' })
})

t.test('the environment of the process cannot switch the check of certificates off', async t => {
  const origin = await httpServer(
    t,
    (_request, response) => json(response, { ok: true }),
    await serverCertificate(await authority()),
  )
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  t.teardown(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED)
  await t.rejects(clientOf(origin).send(GET), { code: 'ERR_TLS_UNTRUSTED' })
  await t.rejects(clientOf(origin, [(await authority()).certificatePem]).send(GET), { code: 'ERR_TLS_UNTRUSTED' })
})

t.test('a server that speaks no TLS is no trusted server', async t => {
  const origin = await httpServer(t, (_request, response) => json(response, {}))
  await t.rejects(clientOf(origin.replace('http', 'https')).send(GET), { name: 'RapNetworkError' })
})

t.test('parts of a path cannot leave it', async t => {
  t.equal(buildPath('/v1/resources', ['../auth/login?x=1#y']), '/v1/resources/..%2Fauth%2Flogin%3Fx%3D1%23y')
  t.equal(
    buildPath('/v1/resources', [], { limit: 5, cursor: undefined, q: 'a b&c' }),
    '/v1/resources?limit=5&q=a+b%26c',
  )
})

t.test('cookies of the page do not travel with ordinary calls', async t => {
  const seen: string[] = []
  const fetchSpy = (async (_url: string, init: RequestInit) => {
    seen.push(String(init.credentials))
    return new Response('{}', { headers: { 'content-type': 'application/json' } })
  }) as typeof fetch
  const client = makeHttpClient({ baseUrl: new URL('https://rap.example'), fetch: fetchSpy, platform })
  await client.send(GET)
  await client.send({ ...GET, cookies: true })
  t.same(seen, ['omit', 'same-origin'])
})
