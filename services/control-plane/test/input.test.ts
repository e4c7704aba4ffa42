import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import { startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const { publicApp } = instance.controlPlane

async function raw(method: string, url: string, payload: string | undefined, headers: Record<string, string> = {}) {
  const answer = await publicApp.inject({
    method: method as 'POST',
    url,
    headers: { authorization: `Bearer ${admin.token}`, 'content-type': 'application/json', ...headers },
    ...(payload === undefined ? {} : { payload }),
  })
  return { status: answer.statusCode, body: JSON.parse(answer.payload), type: answer.headers['content-type'] }
}

const create = (payload: string, headers?: Record<string, string>) => raw('POST', '/v1/resources', payload, headers)

t.test('a body that is not what it says is a problem document with a stable code', async t => {
  const cases: [string, Record<string, string> | undefined, number, string][] = [
    ['', undefined, 400, 'ERR_BODY_MALFORMED'],
    ['{', undefined, 400, 'ERR_BODY_MALFORMED'],
    ['{"name": "x",}', undefined, 400, 'ERR_BODY_MALFORMED'],
    ['\u0000', undefined, 400, 'ERR_BODY_MALFORMED'],
    ['[]', undefined, 400, 'ERR_VALIDATION'],
    ['null', undefined, 400, 'ERR_VALIDATION'],
    ['"text"', undefined, 400, 'ERR_VALIDATION'],
    ['{"name":1,"protocol":"rdp","address":"h"}', undefined, 400, 'ERR_VALIDATION'],
    ['{"name":"n","protocol":"rdp","address":"h","extra":1}', undefined, 400, 'ERR_VALIDATION'],
    ['{"__proto__":{"x":1},"name":"n","protocol":"rdp","address":"h"}', undefined, 400, 'ERR_BODY_MALFORMED'],
    ['name=n', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'ERR_UNSUPPORTED_MEDIA_TYPE'],
    ['<x/>', { 'content-type': 'text/xml' }, 415, 'ERR_UNSUPPORTED_MEDIA_TYPE'],
  ]
  for (const [payload, headers, status, code] of cases) {
    const answer = await create(payload, headers)
    t.equal(answer.status, status, payload)
    t.equal(answer.body.code, code, payload)
    t.match(answer.type, 'application/problem+json')
    t.ok(answer.body.request_id)
  }
})

t.test('a body over the bound is refused before it is parsed', async t => {
  const answer = await create(JSON.stringify({ name: 'x'.repeat(40_000) }))
  t.equal(answer.status, 413)
  t.equal(answer.body.code, 'ERR_BODY_TOO_LARGE')
})

t.test('a deep body does not bring the service down', async t => {
  t.equal((await create(`${'['.repeat(10_000)}${']'.repeat(10_000)}`)).status, 400)
  const deep = `{"name":"n","protocol":"rdp","address":"h","metadata":{"a":${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}}}`
  t.ok((await create(deep)).status >= 400)
  t.equal((await instance.call(admin, 'GET', '/v1/me')).status, 200)
})

t.test('no answer to a wrong body repeats its values', async t => {
  const { body } = await create('{"name":"n","protocol":"canary-1","address":"h"}')
  t.notMatch(JSON.stringify(body), 'canary-1')
  t.notMatch(stand.log, 'canary-1')
})

t.test('ids, cursors and limits are checked before the database sees them', async t => {
  const urls = [
    '/v1/resources/not-a-uuid',
    "/v1/resources/1'%20or%20'1'='1",
    '/v1/resources/00000000-0000-0000-0000-00000000000G',
    '/v1/resources?limit=0',
    '/v1/resources?limit=201',
    '/v1/resources?limit=1e3',
    '/v1/resources?cursor=!',
    `/v1/resources?cursor=${'A'.repeat(300)}`,
    `/v1/resources?cursor=${Buffer.from('2026-13-45T99:99:99.000000Z~x').toString('base64url')}`,
    '/v1/resources?organization_id=x',
    '/v1/resources?unknown=1',
    '/v1/sessions?state=flying',
    '/v1/audit-events?from=2026',
    '/v1/audit-events?event=%00',
  ]
  for (const url of urls) {
    const { status } = await instance.call(admin, 'GET', url)
    t.equal(status, 400, url)
  }
})

t.test('text with a null character, which the database cannot hold, is refused and not an error of ours', async t => {
  const name = await create(JSON.stringify({ name: 'a\u0000b', protocol: 'rdp', address: 'h' }))
  t.equal(name.status, 400)
  const metadata = await create(
    JSON.stringify({ name: 'n', protocol: 'rdp', address: 'h', metadata: { k: 'a\u0000b' } }),
  )
  t.equal(metadata.status, 400)
  const label = await create(JSON.stringify({ name: 'n', protocol: 'rdp', address: 'h', labels: { k: 'a\u0000b' } }))
  t.equal(label.status, 400)
  const login = await raw('POST', '/v1/auth/login', JSON.stringify({ email: 'a\u0000b@example.com', password: 'x' }))
  t.equal(login.status, 400)
  const lone = await create(
    JSON.stringify({ name: 'n\ud800', protocol: 'rdp', address: 'h', metadata: { k: '\ud800' } }),
  )
  t.equal(lone.status, 400, 'a lone surrogate')
})

t.test('an Idempotency-Key is printable and short', async t => {
  for (const key of ['a b', 'x'.repeat(129), 'ü']) {
    const answer = await raw('POST', '/v1/sessions', '{}', { 'idempotency-key': key })
    t.equal(answer.status, 400)
  }
})

t.test('the number of requests from one address is bounded, whoever they say they are', async t => {
  const strict = await stand.build({ CONTROL_PLANE_REQUESTS_PER_MINUTE: '10' })
  const ask = (address: string) =>
    strict.controlPlane.publicApp.inject({ method: 'GET', url: '/v1/me', remoteAddress: address })
  const statuses: number[] = []
  for (let index = 0; index < 12; index++) statuses.push((await ask('203.0.113.5')).statusCode)
  t.same(statuses.slice(-3), [401, 429, 429])
  const limited = await ask('203.0.113.5')
  t.equal(JSON.parse(limited.payload).code, 'ERR_RATE_LIMITED')
  t.ok(Number(limited.headers['retry-after']) > 0)
  t.equal((await ask('203.0.113.6')).statusCode, 401, 'another address')
  for (let index = 0; index < 11; index++) await ask(`2001:db8::${index + 1}`)
  t.equal((await ask('2001:db8::ffff')).statusCode, 429, 'a /64 is one address')
  const spoofed = await strict.controlPlane.publicApp.inject({
    method: 'GET',
    url: '/v1/me',
    remoteAddress: '203.0.113.5',
    headers: { 'x-forwarded-for': '198.51.100.1' },
  })
  t.equal(spoofed.statusCode, 429, 'nobody believes X-Forwarded-For of a stranger')
  const encoded = await strict.controlPlane.publicApp.inject({
    method: 'POST',
    url: '/%761/auth/login',
    remoteAddress: '203.0.113.5',
    headers: { 'content-type': 'application/json' },
    payload: { email: 'a@example.com', password: 'x' },
  })
  t.equal(encoded.statusCode, 429, 'nor does another spelling of the path help')
  const jwks = await strict.controlPlane.publicApp.inject({
    method: 'GET',
    url: '/.well-known/jwks.json',
    remoteAddress: '203.0.113.5',
  })
  t.equal(jwks.statusCode, 200, 'services always get the keys')
})

t.test('a trusted proxy names the client', async t => {
  const proxied = await stand.build({
    CONTROL_PLANE_REQUESTS_PER_MINUTE: '10',
    CONTROL_PLANE_TRUSTED_PROXIES: '10.0.0.0/8',
  })
  const ask = (client: string) =>
    proxied.controlPlane.publicApp.inject({
      method: 'GET',
      url: '/v1/me',
      remoteAddress: '10.1.2.3',
      headers: { 'x-forwarded-for': client },
    })
  for (let index = 0; index < 11; index++) await ask('198.51.100.1')
  t.equal((await ask('198.51.100.1')).statusCode, 429)
  t.equal((await ask('198.51.100.2')).statusCode, 401)
})

t.test('bytes that are no HTTP and headers over the bound end one connection and nothing else', async t => {
  await publicApp.listen({ host: '127.0.0.1', port: 0 })
  const { port } = publicApp.server.address() as AddressInfo
  const send = (bytes: string) =>
    new Promise<string>(resolve => {
      const socket = connect(port, '127.0.0.1')
      let text = ''
      socket.on('data', chunk => {
        text += chunk
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(text))
      socket.write(bytes)
    })
  t.match(await send('\u0016\u0003\u0001 this is TLS\r\n\r\n'), /^HTTP\/1\.1 400/)
  t.match(await send(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431/)
  t.match(
    await send('POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n'),
    /400/,
  )
  t.equal((await instance.call(admin, 'GET', '/v1/me')).status, 200)
})
