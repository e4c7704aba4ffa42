import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { commonProblems, createMetrics, ProblemError, type ServerOptions } from '../src/index.ts'
import { build, capturedLog } from './helper.ts'

const CANARY = 'hunter2-canary'

async function api(t: Test, options: Partial<ServerOptions> = {}) {
  const log = capturedLog()
  const app = await build(t, { logger: log.logger, ...options })
  app.post(
    '/v1/things/:id',
    {
      schema: {
        params: Type.Object({ id: Type.Integer() }),
        querystring: Type.Object({
          limit: Type.Optional(Type.Integer({ maximum: 10 })),
          tag: Type.Optional(Type.Array(Type.String())),
        }),
        body: Type.Object({
          name: Type.String({ maxLength: 8 }),
          count: Type.Optional(Type.Integer()),
          nested: Type.Optional(Type.Object({ flag: Type.Boolean() })),
          kind: Type.Optional(Type.Union([Type.Literal('a'), Type.Literal('b')])),
          labels: Type.Optional(Type.Record(Type.String({ pattern: '^[a-z]{1,8}$' }), Type.String())),
          both: Type.Optional(Type.Intersect([Type.Object({ x: Type.Integer() }), Type.Object({ y: Type.Integer() })])),
        }),
        response: { 200: Type.Object({ limit: Type.Integer(), name: Type.String() }) },
      },
    },
    async request => ({ limit: request.query.limit ?? 0, name: request.body.name, leaked: CANARY }),
  )
  app.get('/v1/conflict', async () => {
    throw commonProblems.ERR_CONFLICT({
      detail: 'It is there already.',
      facts: { table: 'things' },
      extras: { remedy: 'Choose another name.' },
      audit: { event: 'thing_refused', outcome: 'refused' },
      cause: new Error(CANARY),
    })
  })
  app.get('/v1/broken', async () => {
    throw Object.assign(new Error(`relation ${CANARY}`), { code: 'ERR_DOMAIN', statusCode: 500 })
  })
  app.get('/v1/odd', async () => {
    throw CANARY
  })
  app.get('/v1/teapot', async () => {
    throw Object.assign(new Error(CANARY), { statusCode: 418 })
  })
  return { app, log }
}

const post = (payload: unknown, url = '/v1/things/1') =>
  ({ method: 'POST', url, payload }) as { method: 'POST'; url: string; payload: object }

t.test('a request that fits its schemas is answered with the fields of its response schema only', async t => {
  const { app } = await api(t)
  const answer = await app.inject(
    post({ name: 'a', labels: { env: 'x' }, both: { x: 1, y: 2 } }, '/v1/things/7?limit=3&tag=a'),
  )
  t.equal(answer.statusCode, 200)
  t.same(answer.json(), { limit: 3, name: 'a' })
})

t.test('what does not fit is refused with the field and the rule, and never with the value', async t => {
  const { app, log } = await api(t)
  const cases: [object, string, string, string][] = [
    [post({ name: 'a', [CANARY]: 1 }), 'body', `/${CANARY}`, 'additionalProperties'],
    [post({ name: 'a', nested: { flag: true, more: CANARY } }), 'body', '/nested/more', 'additionalProperties'],
    [post({ name: 'a', both: { x: 1 } }), 'body', '/both/y', 'required'],
    [post({}), 'body', '/name', 'required'],
    [post({ name: CANARY }), 'body', '/name', 'maxLength'],
    [post({ name: 'a', count: '7' }), 'body', '/count', 'type'],
    [post({ name: 7 }), 'body', '/name', 'type'],
    [post({ name: 'a', kind: CANARY }), 'body', '/kind', 'const'],
    [post({ name: 'a', labels: { 'Not a label': 'x' } }), 'body', '(unprintable)', 'additionalProperties'],
    [post([]), 'body', '', 'type'],
    [post({ name: 'a' }, '/v1/things/x'), 'params', '/id', 'type'],
    [post({ name: 'a' }, '/v1/things/1?limit=11'), 'querystring', '/limit', 'maximum'],
    [post({ name: 'a' }, `/v1/things/1?limt=${CANARY}`), 'querystring', '/limt', 'additionalProperties'],
  ]
  for (const [request, where, field, rule] of cases) {
    const answer = await app.inject(request)
    t.match(answer, { statusCode: 400, headers: { 'content-type': 'application/problem+json; charset=utf-8' } })
    t.match(
      answer.json(),
      { code: 'ERR_VALIDATION', errors: [{ in: where, field, rule }] },
      `${where} ${field} ${rule}`,
    )
    if (!field.includes(CANARY)) t.notOk(answer.body.includes(CANARY))
  }
  t.notMatch(log.text().replaceAll(`/${CANARY}`, ''), CANARY)
})

t.test('bodies that are broken, missing, too large or of another type have their own codes', async t => {
  const { app, log } = await api(t, { bodyLimitBytes: 1000 })
  const json = { 'content-type': 'application/json' }
  const cases: [number, string, string, Record<string, string>][] = [
    [400, 'ERR_BODY_MALFORMED', `{"name": "${CANARY}`, json],
    [400, 'ERR_BODY_MALFORMED', '', json],
    [400, 'ERR_BODY_MALFORMED', '{"name":"a","__proto__":{"x":1}}', json],
    [400, 'ERR_BODY_MALFORMED', '{"constructor":{"prototype":{"x":1}}}', json],
    [413, 'ERR_BODY_TOO_LARGE', JSON.stringify({ name: 'x'.repeat(1000) }), json],
    [415, 'ERR_UNSUPPORTED_MEDIA_TYPE', CANARY, { 'content-type': 'text/plain' }],
    [415, 'ERR_UNSUPPORTED_MEDIA_TYPE', '<x/>', { 'content-type': 'application/xml' }],
    [415, 'ERR_UNSUPPORTED_MEDIA_TYPE', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }],
  ]
  for (const [status, code, payload, headers] of cases) {
    const answer = await app.inject({ method: 'POST', url: '/v1/things/1', payload, headers })
    t.match(answer.json(), { status, code }, `${code} ${payload.slice(0, 20)}`)
    t.notOk(answer.body.includes(CANARY))
  }
  const exact = `{"name":"a"${' '.repeat(1000 - 12)}}`
  t.equal(exact.length, 1000)
  t.equal((await app.inject({ method: 'POST', url: '/v1/things/1', payload: exact, headers: json })).statusCode, 200)
  t.equal(
    (await app.inject({ method: 'POST', url: '/v1/things/1', payload: `${exact} `, headers: json })).statusCode,
    413,
  )
  t.notMatch(log.text(), CANARY)
})

t.test('unknown paths, known paths with another method and broken URLs are told apart', async t => {
  const { app } = await api(t)
  t.match((await app.inject(`/v1/nothing?token=${CANARY}`)).json(), { status: 404, code: 'ERR_NOT_FOUND' })
  const other = await app.inject({ method: 'DELETE', url: '/v1/things/1?x=1' })
  t.match(other.json(), { status: 405, code: 'ERR_METHOD_NOT_ALLOWED' })
  t.equal(other.headers.allow, 'POST')
  t.equal((await app.inject({ method: 'PUT', url: '/v1/conflict' })).headers.allow, 'GET, HEAD')
  t.match((await app.inject('/v1/things/%zz')).json(), { status: 400, code: 'ERR_REQUEST_MALFORMED' })
  t.match((await app.inject(post({ name: 'a' }, `/v1/things/${'1'.repeat(300)}`))).json(), {
    code: 'ERR_REQUEST_MALFORMED',
  })
})

t.test(
  'a problem of a route reaches the client without facts, cause and stack, and the log without the client',
  async t => {
    const { app, log } = await api(t)
    const answer = await app.inject({ url: '/v1/conflict', headers: { 'x-request-id': 'request-0001' } })
    t.same(answer.json(), {
      type: 'urn:rap:problem:ERR_CONFLICT',
      title: 'The request conflicts with the current state',
      status: 409,
      code: 'ERR_CONFLICT',
      detail: 'It is there already.',
      remedy: 'Choose another name.',
      request_id: 'request-0001',
    })
    const refused = log.lines().find(line => line.event === 'request_refused')
    t.match(refused, { code: 'ERR_CONFLICT', request_id: 'request-0001', facts: { table: 'things' } })
  },
)

t.test('an error that nobody classified is a 500 that says nothing, and is whole in the log', async t => {
  const { app, log } = await api(t)
  for (const url of ['/v1/broken', '/v1/odd']) {
    const answer = await app.inject(url)
    t.same(Object.keys(answer.json()).sort(), ['code', 'request_id', 'status', 'title', 'type'])
    t.match(answer.json(), { status: 500, code: 'ERR_INTERNAL' })
    t.notOk(answer.body.includes(CANARY))
  }
  t.match(
    log.lines().find(line => line.event === 'request_failed'),
    { err: { code: 'ERR_DOMAIN', message: /relation/ } },
  )
  const teapot = await app.inject('/v1/teapot')
  t.match(teapot.json(), { status: 418, code: 'ERR_HTTP_418' })
  t.notOk(teapot.body.includes(CANARY))
})

t.test('a service maps the errors of its domain packages', async t => {
  const { app } = await api(t, {
    mapError: error =>
      (error as { code?: string }).code === 'ERR_DOMAIN'
        ? new ProblemError({ code: 'ERR_DOMAIN', status: 422, title: 'Mapped' })
        : undefined,
  })
  t.match((await app.inject('/v1/broken')).json(), { status: 422, code: 'ERR_DOMAIN' })
  t.match((await app.inject('/v1/odd')).json(), { status: 500, code: 'ERR_INTERNAL' })
})

t.test(
  'a refusal with an audit event reaches the hook before its answer, and a hook that fails hides nothing',
  async t => {
    const seen: unknown[] = []
    const { app } = await api(t, { onRefusal: async problem => void seen.push(problem.audit) })
    await app.inject('/v1/conflict')
    await app.inject('/v1/broken')
    t.same(seen, [{ event: 'thing_refused', outcome: 'refused' }])

    const failing = await api(t, {
      onRefusal: async () => {
        throw new Error('audit is away')
      },
    })
    t.equal((await failing.app.inject('/v1/conflict')).statusCode, 409)
    t.ok(failing.log.lines().some(line => line.event === 'audit_write_failed'))
  },
)

t.test('a request id in form is kept, another one is replaced', async t => {
  const { app, log } = await api(t)
  const idFor = async (given: string) => {
    const answer = await app.inject({ url: '/v1/conflict', headers: { 'x-request-id': given } })
    t.equal(answer.headers['x-request-id'], answer.json().request_id)
    return answer.headers['x-request-id']
  }
  t.equal(await idFor('0f8c1d9e-1111-4222-8333-444455556666'), '0f8c1d9e-1111-4222-8333-444455556666')
  for (const given of ['short', 'x'.repeat(65), 'with space in it', '{"json":"injection"}', '']) {
    t.match(await idFor(given), /^[0-9a-f-]{36}$/, JSON.stringify(given))
  }
  t.notMatch(log.text(), 'injection')
})

t.test('every line of a request carries its trace, and routes can pass it on', async t => {
  const { app, log } = await api(t)
  app.get('/v1/trace', async request => request.trace)
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`
  const answer = await app.inject({ url: '/v1/trace', headers: { traceparent } })
  t.match(answer.json(), { traceId, parentSpanId: '00f067aa0ba902b7', sampled: true })
  t.match(log.lines().at(-1), { trace_id: traceId, span_id: answer.json().spanId })
})

t.test('the log of a request has the path without its query, and no header, body or query value', async t => {
  const { app, log } = await api(t)
  await app.inject({
    ...post({ name: 'a' }, `/v1/things/1?limit=3&tag=${CANARY}`),
    headers: { authorization: `Bearer ${CANARY}`, cookie: `rap_refresh=${CANARY}`, 'x-other': CANARY },
  })
  t.match(log.lines().at(-1), {
    event: 'http_request',
    method: 'POST',
    route: '/v1/things/:id',
    path: '/v1/things/1',
    status: 200,
  })
  t.notMatch(log.text(), CANARY)
})

t.test('every answer carries the security headers, errors included, and a route may set its own', async t => {
  const { app } = await api(t)
  app.get('/page', async (_request, reply) => {
    reply.header('content-security-policy', "default-src 'self'").header('cache-control', 'max-age=60')
    return reply.type('text/html').send('<p>x</p>')
  })
  for (const url of ['/v1/conflict', '/nothing', '/healthz', '/v1/%zz']) {
    t.match(
      (await app.inject(url)).headers,
      {
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
        'content-security-policy': /default-src 'none'/,
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'DENY',
      },
      url,
    )
  }
  const page = await app.inject('/page')
  t.match(page.headers, {
    'content-security-policy': "default-src 'self'",
    'cache-control': 'max-age=60',
    'x-content-type-options': 'nosniff',
  })
  t.equal(page.headers['strict-transport-security'], undefined, 'there is no TLS here')
})

t.test('the histogram counts by route pattern and never by URL', async t => {
  const metrics = createMetrics({ service: 'test' })
  const { app } = await api(t, { metrics })
  await app.inject(post({ name: 'a' }, '/v1/things/12345'))
  await app.inject('/v1/unknown-98765')
  const { body, headers } = await app.inject('/metrics')
  t.match(headers['content-type'], /^text\/plain/)
  const count = body
    .split('\n')
    .find(line => line.startsWith('rap_http_request_duration_seconds_count') && line.includes('POST'))
  for (const label of ['route="/v1/things/:id"', 'status="200"', 'service="test"']) t.ok(count?.includes(label), label)
  t.ok(count?.endsWith(' 1'))
  t.match(body, /route="unmatched",status="404"/)
  t.match(body, /process_cpu_seconds_total\{service="test"\}/)
  t.notMatch(body, /12345|98765/)
})

t.test('the OpenAPI page describes routes that were added after the server was built', async t => {
  const { app } = await api(t, { openapi: { title: 'RAP', description: 'API', version: '1.2.3' } })
  const document = (await app.inject('/docs/json')).json()
  t.match(document, { openapi: '3.1.0', info: { title: 'RAP', version: '1.2.3' } })
  t.same(Object.keys(document.paths).sort(), ['/v1/broken', '/v1/conflict', '/v1/odd', '/v1/teapot', '/v1/things/{id}'])
  const page = await app.inject('/docs/')
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-security-policy'], /script-src/)
})
