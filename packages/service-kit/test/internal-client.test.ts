import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { commonProblems, continueTrace, InternalClient, internalAgent, type RapServer } from '../src/index.ts'
import { build, capturedLog, listen, type Platform, platform, TRUST_DOMAIN } from './helper.ts'

const CANARY = 'hunter2-canary'

interface Pair {
  authority: Platform
  app: RapServer
  url: string
  client: InternalClient
  log: ReturnType<typeof capturedLog>
}

async function pair(
  t: Test,
  routes: (app: RapServer) => void,
  options: { serverIdentity?: string; dnsNames?: string[] } = {},
): Promise<Pair> {
  const authority = await platform()
  const { serverIdentity = 'service/secret-resolver', dnsNames = ['localhost'] } = options
  const tls = { ...(await authority.issue(serverIdentity, { dnsNames })), requireClientCertificate: true }
  const app = await build(t, { tls, trustDomain: TRUST_DOMAIN })
  routes(app)
  const { url } = await listen(app)
  const log = capturedLog()
  const client = new InternalClient({
    baseUrl: url,
    agent: await agentOf(t, authority),
    logger: log.logger,
    timeoutMs: 5000,
  })
  return { authority, app, url, client, log }
}

async function agentOf(t: Test, authority: Platform, identity = 'worker/w-1') {
  const agent = internalAgent({
    ...(await authority.issue(identity)),
    trustDomain: TRUST_DOMAIN,
    expectedIdentity: 'service/secret-resolver',
  })
  t.teardown(() => agent.destroy())
  return agent
}

t.test('a call carries JSON, the request id and the trace, and answers the parsed body', async t => {
  const { client } = await pair(t, app => {
    app.post('/v1/echo', async request => ({ body: request.body, id: request.id, trace: request.trace.traceId }))
    app.delete('/v1/thing', async (_request, reply) => reply.code(204).send())
  })
  const trace = continueTrace(undefined)
  const answer = await client.request<object>({
    method: 'POST',
    path: '/v1/echo',
    body: { a: 1 },
    requestId: 'request-0001',
    trace,
  })
  t.same(answer, { body: { a: 1 }, id: 'request-0001', trace: trace.traceId })
  t.equal(await client.request({ method: 'DELETE', path: '/v1/thing' }), undefined)
})

t.test('a problem of the peer arrives with its code, status, detail and extension members', async t => {
  const { client } = await pair(t, app => {
    app.get('/v1/x', async () => {
      throw commonProblems.ERR_CONFLICT({
        detail: 'Version 3 is newer.',
        extras: { version: 3 },
        facts: { internal: 1 },
      })
    })
  })
  await t.rejects(client.request({ method: 'GET', path: '/v1/x' }), {
    name: 'ProblemError',
    code: 'ERR_CONFLICT',
    status: 409,
    detail: 'Version 3 is newer.',
    extras: { version: 3 },
  })
})

t.test(
  'answers that are no problem document, no JSON, a redirect or too large mean that the peer is unavailable',
  async t => {
    const { client, log } = await pair(t, app => {
      app.get('/html', async (_request, reply) => reply.code(502).type('text/html').send(`<p>${CANARY}</p>`))
      app.get('/forged', async (_request, reply) => reply.code(403).send({ code: `${CANARY}\nERR`, title: CANARY }))
      app.get('/text', async (_request, reply) => reply.type('application/json').send(`{"${CANARY}`))
      app.get('/redirect', async (_request, reply) => reply.redirect('https://evil.test/'))
      app.get('/large', async () => ({ text: 'x'.repeat(1024 * 1024) }))
    })
    for (const path of ['/html', '/forged', '/text', '/redirect', '/large']) {
      const error = await client.request({ method: 'GET', path }).catch((error: unknown) => error)
      t.match(error, { code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503 }, path)
      t.notMatch(`${(error as Error).stack} ${JSON.stringify(error)} ${String((error as Error).cause)}`, CANARY, path)
    }
    t.notMatch(log.text(), CANARY)
  },
)

t.test('a peer that does not answer in time is a timeout, and the caller’s own abort is the caller’s', async t => {
  const { client } = await pair(t, app => {
    app.get('/slow', () => new Promise(() => {}))
  })
  await t.rejects(client.request({ method: 'GET', path: '/slow', timeoutMs: 200 }), {
    code: 'ERR_UPSTREAM_TIMEOUT',
    status: 504,
  })
  const controller = new AbortController()
  const pending = client.request({ method: 'GET', path: '/slow', signal: controller.signal })
  controller.abort(new Error('caller left'))
  await t.rejects(pending, { message: 'caller left' })
})

t.test('a server that is revoked gets no request, and gets them again once it is not', async t => {
  const { authority, url, log } = await pair(t, app => {
    app.get('/v1/x', async () => ({}))
  })
  let isRevoked = true
  const asked: string[] = []
  const agent = internalAgent({
    ...(await authority.issue('worker/w-1')),
    trustDomain: TRUST_DOMAIN,
    expectedIdentity: 'service/secret-resolver',
    isRevoked: ({ kind, id, thumbprint }) => {
      asked.push(`${kind}/${id} ${thumbprint.length}`)
      return isRevoked
    },
  })
  t.teardown(() => agent.destroy())
  const client = new InternalClient({ baseUrl: url, agent, logger: log.logger })
  await t.rejects(client.request({ method: 'GET', path: '/v1/x' }), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  t.equal(asked[0], 'service/secret-resolver 43')
  isRevoked = false
  t.same(await client.request({ method: 'GET', path: '/v1/x' }), {})
})

t.test('a server with a valid certificate and another identity gets no request', async t => {
  let calls = 0
  const count = (app: RapServer) => {
    app.get('/v1/x', async () => {
      calls += 1
      return {}
    })
  }
  for (const serverIdentity of ['service/control-plane', 'service/secret-resolver-2', 'worker/secret-resolver']) {
    const { client, log } = await pair(t, count, { serverIdentity })
    await t.rejects(
      client.request({ method: 'GET', path: '/v1/x' }),
      { code: 'ERR_UPSTREAM_UNAVAILABLE' },
      serverIdentity,
    )
    t.match(log.lines()[0], { err: { code: 'ERR_PEER_IDENTITY' } })
  }
  t.equal(calls, 0)
})

t.test('a server of another CA or for another host name gets no request', async t => {
  const other = await pair(t, app => void app.get('/v1/x', async () => ({})))
  const stranger = new InternalClient({
    baseUrl: other.url,
    agent: await agentOf(t, await platform()),
    logger: other.log.logger,
  })
  await t.rejects(stranger.request({ method: 'GET', path: '/v1/x' }), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  const wrongName = await pair(t, app => void app.get('/v1/x', async () => ({})), { dnsNames: ['resolver.test'] })
  await t.rejects(wrongName.client.request({ method: 'GET', path: '/v1/x' }), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
})

t.test('the identity is checked on every connection, resumed sessions included', async t => {
  const { client, app, authority } = await pair(
    t,
    app => void app.get('/v1/x', async (_request, reply) => reply.header('connection', 'close').send({})),
  )
  for (let call = 0; call < 3; call++) await client.request({ method: 'GET', path: '/v1/x' })
  const impostor = await authority.issue('service/gateway')
  app.setTls({ cert: impostor.cert, key: impostor.key })
  await t.rejects(client.request({ method: 'GET', path: '/v1/x' }), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
})

t.test(
  'an agent presents its new certificate from the change on, and goes on with no connection of the old one',
  async t => {
    const { peerIdentity } = await import('../src/index.ts')
    const { authority, url, log } = await pair(t, app => {
      app.get('/v1/me', async request => ({ id: peerIdentity(request)?.id }))
      app.get('/v1/slow', async request => {
        await new Promise(resolve => setTimeout(resolve, 100))
        return { id: peerIdentity(request)?.id }
      })
    })
    const agent = await agentOf(t, authority, 'worker/before')
    const client = new InternalClient({ baseUrl: url, agent, logger: log.logger })
    t.same(await client.request({ method: 'GET', path: '/v1/me' }), { id: 'before' })
    const underWay = client.request({ method: 'GET', path: '/v1/slow' })
    const { cert, key } = await authority.issue('worker/after')
    agent.setTls({ cert, key })
    t.same(await client.request({ method: 'GET', path: '/v1/me' }), { id: 'after' })
    t.same(await underWay, { id: 'before' }, 'a call that was under way ends as it began')
  },
)

t.test(
  'a connection that cannot be made is tried again for calls that may be repeated, and only for those',
  async t => {
    const authority = await platform()
    const probe = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => probe.once('listening', resolve))
    const { port } = probe.address() as { port: number }
    await new Promise(resolve => probe.close(resolve))
    const log = capturedLog()
    let attempts = 0
    const agent = (await agentOf(t, authority)).compose(dispatch => (options, handler) => {
      attempts += 1
      return dispatch(options, handler)
    })
    const client = new InternalClient({ baseUrl: `https://127.0.0.1:${port}`, agent, logger: log.logger })
    const attemptsOf = async (options: { method: 'GET' | 'POST'; idempotent?: boolean }) => {
      attempts = 0
      await t.rejects(client.request({ path: '/v1/x', ...options }), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
      return attempts
    }
    t.equal(await attemptsOf({ method: 'GET' }), 3)
    t.equal(await attemptsOf({ method: 'POST' }), 1)
    t.equal(await attemptsOf({ method: 'POST', idempotent: true }), 3)
    t.match(log.lines()[0], { event: 'upstream_failed', err: { code: 'ECONNREFUSED' } })
  },
)

t.test('a call that reached the peer is not sent twice', async t => {
  let calls = 0
  const { client } = await pair(t, app => {
    app.put('/v1/x', async request => {
      calls += 1
      request.raw.socket.destroy()
      return {}
    })
  })
  await t.rejects(client.request({ method: 'PUT', path: '/v1/x', body: {} }), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  t.equal(calls, 1)
})

t.test('a path cannot lead to another host', async t => {
  const { client } = await pair(t, () => {})
  for (const path of ['//evil.test/x', 'https://evil.test/x', 'v1/x', '', '/\\evil.test/x', '/\t/evil.test']) {
    await t.rejects(client.request({ method: 'GET', path }), TypeError, path)
  }
})

t.test('an expected identity out of form is a mistake of the program', async t => {
  const authority = await platform()
  const material = await authority.issue('worker/w-1')
  for (const expectedIdentity of ['secret-resolver', 'service/', 'service/a/b', 'admin/a']) {
    t.throws(
      () => internalAgent({ ...material, trustDomain: TRUST_DOMAIN, expectedIdentity }),
      TypeError,
      expectedIdentity,
    )
  }
})

t.test('what is known by its ETag is not sent again; without one there is no answer', async t => {
  let body = '{"version":1}'
  const { client } = await pair(t, app => {
    app.get('/v1/list', async (request, reply) => {
      const etag = `"${body.length}"`
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.header('etag', etag).type('application/json').send(body)
    })
    app.get('/v1/bare', async () => ({}))
    app.get('/v1/always', async (_request, reply) => reply.code(304).send())
  })
  const first = await client.requestTagged({ path: '/v1/list' }, undefined)
  t.same(first, { unchanged: false, etag: '"13"', body: { version: 1 } })
  t.same(await client.requestTagged({ path: '/v1/list' }, '"13"'), { unchanged: true })
  body = '{"version":10}'
  t.match(await client.requestTagged({ path: '/v1/list' }, '"13"'), { unchanged: false, body: { version: 10 } })
  await t.rejects(client.requestTagged({ path: '/v1/bare' }, undefined), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  await t.rejects(client.requestTagged({ path: '/v1/always' }, undefined), { code: 'ERR_UPSTREAM_UNAVAILABLE' })
})
