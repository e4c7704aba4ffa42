import { compactDecrypt, exportJWK, generateKeyPair } from 'jose'
import t from 'tap'
import { createRapClient, type SessionEvent } from '../src/index.ts'
import {
  type ControlPlaneScript,
  json,
  ORGANIZATION_ID,
  problem,
  RESOURCE_ID,
  SESSION_ID,
  scriptedControlPlane,
  type Teardown,
} from './helper.ts'

const RESOURCE = {
  id: RESOURCE_ID,
  organization_id: ORGANIZATION_ID,
  name: 'Accounting',
  protocol: 'rdp',
  address: 'rdp.example.internal:3389',
  secret_ref: null,
  metadata: { certificate_verification_mode: 'strict' },
  labels: { site: 'a' },
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
}
const SECRET_METADATA = {
  secret_ref: `rap-secret://org/${ORGANIZATION_ID}/resources/${RESOURCE_ID}/rdp-primary`,
  version: 2,
  key_id: 'key-1',
  algorithm: 'AES-256-GCM',
  payload_sha256: '0'.repeat(64),
  created_at: '2026-01-01T00:00:00.000Z',
  created_by: null,
}

async function client(t: Teardown, intercept: NonNullable<ControlPlaneScript['intercept']>) {
  const controlPlane = await scriptedControlPlane(t, { candidates: [], intercept })
  const rap = createRapClient({ baseUrl: controlPlane.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  return { rap, requests: controlPlane.requests }
}

t.test('lists are asked for by page and filter', async t => {
  const { rap, requests } = await client(t, ({ method, path }, response) => {
    if (method !== 'GET' || path.startsWith('/v1/auth')) return false
    json(response, { items: path.startsWith('/v1/resources') ? [RESOURCE] : [], next_cursor: 'abc' })
    return true
  })
  t.same(await rap.resources.list({ organizationId: ORGANIZATION_ID, limit: 10, cursor: 'x' }), {
    items: [RESOURCE],
    next_cursor: 'abc',
  })
  await rap.organizations.list()
  await rap.sessions.list({ state: 'active', resourceId: RESOURCE_ID })
  t.same(
    requests.slice(1).map(({ path }) => path),
    [
      `/v1/resources?organization_id=${ORGANIZATION_ID}&cursor=x&limit=10`,
      '/v1/organizations',
      `/v1/sessions?resource_id=${RESOURCE_ID}&state=active`,
    ],
  )
})

t.test('members of an organization are asked for by page', async t => {
  const member = {
    user_id: RESOURCE_ID,
    email: 'a@example.com',
    display_name: 'A',
    role: 'admin',
    created_at: '2026-01-01T00:00:00.000Z',
  }
  const path = `/v1/organizations/${ORGANIZATION_ID}/members?limit=200`
  const { rap } = await client(t, (request, response) => {
    if (request.path !== path) return false
    json(response, { items: [member], next_cursor: null })
    return true
  })
  t.same(await rap.organizations.listMembers(ORGANIZATION_ID, { limit: 200 }), { items: [member], next_cursor: null })
})

t.test('a resource is made, changed and deleted with the bodies of the API', async t => {
  const { rap, requests } = await client(t, ({ method, path }, response) => {
    if (!path.startsWith('/v1/resources')) return false
    json(response, method === 'DELETE' ? undefined : RESOURCE, method === 'POST' ? 201 : 200)
    return true
  })
  await rap.resources.create({
    organizationId: ORGANIZATION_ID,
    name: 'Accounting',
    address: 'rdp.example.internal:3389',
  })
  await rap.resources.update(RESOURCE_ID, { name: 'Books', metadata: { note: null } })
  await rap.resources.delete(RESOURCE_ID)
  t.same(
    requests.slice(1).map(({ method, path, body }) => [method, path, body]),
    [
      [
        'POST',
        '/v1/resources',
        { organization_id: ORGANIZATION_ID, protocol: 'rdp', name: 'Accounting', address: 'rdp.example.internal:3389' },
      ],
      ['PATCH', `/v1/resources/${RESOURCE_ID}`, { name: 'Books', metadata: { note: null } }],
      ['DELETE', `/v1/resources/${RESOURCE_ID}`, undefined],
    ],
  )
})

t.test('a resource that is not one is refused', async t => {
  const { rap } = await client(t, ({ path }, response) => {
    if (!path.startsWith('/v1/resources')) return false
    json(response, { ...RESOURCE, organization_id: '../../etc', protocol: 'vnc' })
    return true
  })
  await t.rejects(rap.resources.get(RESOURCE_ID), { code: 'ERR_RESPONSE_INVALID' })
})

t.test('a secret leaves the client sealed only, and is sealed once more when the key was replaced', async t => {
  const { publicKey, privateKey } = await generateKeyPair('ECDH-ES+A256KW', { extractable: true })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  let keys = 0
  const { rap, requests } = await client(t, ({ method, path, body }, response) => {
    if (path === '/v1/secret-sealing-key')
      json(response, { kty, crv, x, y, kid: `key-${++keys}`, alg: 'ECDH-ES+A256KW', use: 'enc' })
    else if (method === 'PUT' && keys === 1) problem(response, 422, 'ERR_SEALING_KEY_UNKNOWN')
    else if (path.endsWith('/secret')) json(response, method === 'DELETE' ? undefined : SECRET_METADATA)
    else if (path.startsWith('/v1/resources')) json(response, RESOURCE)
    else return false
    return body !== null
  })
  const secret = { username: 'operator', domain: '', password: 'canary-word' }
  t.same(await rap.resources.setSecret(RESOURCE_ID, secret, { expectedVersion: 1 }), SECRET_METADATA)
  t.equal(keys, 2)
  t.notMatch(JSON.stringify(requests), /canary-word|operator/)
  const writes = requests.filter(({ method }) => method === 'PUT').map(({ body }) => body as Record<string, unknown>)
  t.equal(writes.length, 2)
  const { sealed, expected_version: expectedVersion } = writes[1] ?? {}
  const { plaintext, protectedHeader } = await compactDecrypt(String(sealed), privateKey)
  t.match(protectedHeader, { kid: 'key-2', organization_id: ORGANIZATION_ID, resource_id: RESOURCE_ID })
  t.equal(JSON.parse(new TextDecoder().decode(plaintext)).password, 'canary-word')
  t.equal(expectedVersion, 1)
  t.same(await rap.resources.getSecretMetadata(RESOURCE_ID), SECRET_METADATA)
  await rap.resources.deleteSecret(RESOURCE_ID, { expectedVersion: 2 })
  t.equal(requests.at(-1)?.path, `/v1/resources/${RESOURCE_ID}/secret?expected_version=2`)
})

t.test('another refusal of a secret is told and not tried again', async t => {
  let writes = 0
  const { publicKey } = await generateKeyPair('ECDH-ES+A256KW', { extractable: true })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  const { rap } = await client(t, ({ method, path }, response) => {
    if (path === '/v1/secret-sealing-key')
      json(response, { kty, crv, x, y, kid: 'k', alg: 'ECDH-ES+A256KW', use: 'enc' })
    else if (method === 'PUT') {
      writes += 1
      problem(response, 409, 'ERR_SECRET_VERSION_CONFLICT')
    } else if (path.startsWith('/v1/resources')) json(response, RESOURCE)
    else return false
    return true
  })
  await t.rejects(rap.resources.setSecret(RESOURCE_ID, { username: 'a', password: 'b' }), {
    code: 'ERR_SECRET_VERSION_CONFLICT',
  })
  t.equal(writes, 1)
})

t.test('a start that is repeated under its key is the same request', async t => {
  let starts = 0
  const { rap, requests } = await client(t, ({ path }, response) => {
    if (path !== '/v1/sessions') return false
    starts += 1
    if (starts > 1) return false
    response.destroy()
    return true
  })
  const options = { resourceId: RESOURCE_ID, idempotencyKey: 'order-7' }
  await t.rejects(rap.sessions.start(options), { code: 'ERR_NETWORK' })
  await rap.sessions.start(options)
  await rap.sessions.start({ resourceId: RESOURCE_ID })
  const sent = requests.filter(({ path }) => path === '/v1/sessions')
  t.same(sent[1]?.body, sent[0]?.body)
  t.equal(sent[1]?.headers['idempotency-key'], 'order-7')
  t.not(JSON.stringify(sent[2]?.body), JSON.stringify(sent[0]?.body), 'another start has another key')
})

t.test('a failed start says why and what to do', async t => {
  const { rap } = await client(t, ({ path }, response) => {
    if (path !== '/v1/sessions') return false
    problem(response, 502, 'ERR_TARGET_LOGON_FAILED', {
      detail: 'Wrong password.',
      remedy: 'Write the secret again.',
      session_id: SESSION_ID,
    })
    return true
  })
  await t.rejects(rap.sessions.start({ resourceId: RESOURCE_ID }), {
    code: 'ERR_TARGET_LOGON_FAILED',
    detail: 'Wrong password.',
    remedy: 'Write the secret again.',
    sessionId: SESSION_ID,
  })
})

t.test('events are followed over the end of a stream, until the session is over', async t => {
  const state = (name: string) => {
    const at = '2026-01-01T00:00:00.000Z'
    const session = {
      id: SESSION_ID,
      organization_id: ORGANIZATION_ID,
      resource_id: RESOURCE_ID,
      user_id: RESOURCE_ID,
      state: name,
      failure: null,
      end_reason: null,
      created_at: at,
      updated_at: at,
      ended_at: null,
      ends_at: null,
    }
    return `event: session\ndata: ${JSON.stringify({ session, attachment: null })}\n\n`
  }
  let streams = 0
  const { rap } = await client(t, ({ path }, response) => {
    if (!path.endsWith('/events')) return false
    streams += 1
    if (streams === 2) {
      problem(response, 503, 'ERR_SHUTTING_DOWN')
      return true
    }
    response.setHeader('content-type', 'text/event-stream; charset=utf-8')
    if (streams === 1) response.end(`: heartbeat\n\n${state('ready')}${state('active')}`)
    else response.end(`${state('active')}event: other\ndata: x\n\n${state('terminated')}${state('ready')}`)
    return true
  })
  const session = await rap.sessions.start({ resourceId: RESOURCE_ID })
  const states: string[] = []
  for await (const event of session.events() as AsyncIterable<SessionEvent>) states.push(event.session.state)
  t.same(states, ['ready', 'active', 'terminated'], 'a state that was seen is not told twice')
  t.equal(streams, 3)
})

t.test('events end when the reader aborts, and fail when they are refused', async t => {
  let refuse = false
  const { rap } = await client(t, ({ path }, response) => {
    if (!path.endsWith('/events')) return false
    if (refuse) problem(response, 404, 'ERR_NOT_FOUND')
    else response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    return true
  })
  const session = await rap.sessions.start({ resourceId: RESOURCE_ID })
  const controller = new AbortController()
  const reading = session.events({ signal: controller.signal }).next()
  setTimeout(() => controller.abort(), 50)
  t.same(await reading, { done: true, value: undefined })
  refuse = true
  await t.rejects(session.events().next(), { code: 'ERR_NOT_FOUND' })
})
