import t from 'tap'
import { createRapClient, type RapClient } from '../src/index.ts'
import {
  type ControlPlaneScript,
  SESSION_ID as ID,
  json,
  problem,
  type ScriptedRequest,
  scriptedControlPlane,
  type Teardown,
} from './helper.ts'

const AT = '2026-01-01T00:00:00.000Z'
const WORKER = {
  id: ID,
  name: 'worker-1',
  labels: { site: 'a' },
  public_url: 'wss://worker-1.example:8443/data-plane/v1',
  version: '0.1.0',
  state: 'active',
  alive: true,
  load: { sessions: 1, max_sessions: 50 },
  live_attachments: 1,
  created_at: AT,
  announced_at: AT,
  revoked_at: null,
}
const NAMES = { dns_names: ['worker-1.example'], ip_addresses: ['192.0.2.1'] }
const TOKEN = { id: ID, kind: 'worker', identity_id: ID, expires_at: AT }
const LISTED = {
  ...TOKEN,
  ...NAMES,
  name: 'worker-1',
  labels: {},
  created_at: AT,
  used_at: null,
  deleted_at: null,
  state: 'open',
}
const IDENTITY = {
  kind: 'worker',
  id: ID,
  name: 'worker-1',
  ...NAMES,
  labels: {},
  state: 'active',
  created_at: AT,
  revoked_at: null,
  certificate: { serial: '0a', thumbprint: 'x', generation: 1, not_before: AT, not_after: AT },
}
const REVOKED = { revoked_at: AT, sessions_failed: 2 }
const CA = {
  managed: true,
  bundle_ref: 'rap-platform-ca:v1',
  generations: [
    {
      generation: 1,
      state: 'active',
      root: { subject: 'CN=root', sha256: '00', not_after: AT, key: 'wrapped' },
      intermediate: { subject: 'CN=intermediate', sha256: '01', not_after: AT },
      certificates_in_force: 4,
      created_at: AT,
      activated_at: AT,
      retired_at: null,
    },
  ],
  bundles: [{ version: 1, ref: 'rap-platform-ca:v1', sha256: 'x', roots: ['00'], created_at: AT }],
}
const SIGNING = {
  keys: [
    {
      kid: 'k1',
      state: 'next',
      created_at: AT,
      activated_at: null,
      retiring_at: null,
      retired_at: null,
      revoked_at: null,
      signs_next_at: AT,
      public_key: '-----BEGIN PUBLIC KEY-----',
    },
  ],
  next_rotation_at: null,
}

/** A client that is logged in to a server with these answers by method and path. */
async function client(t: Teardown, answers: Record<string, unknown>, intercept?: ControlPlaneScript['intercept']) {
  const controlPlane = await scriptedControlPlane(t, {
    candidates: [],
    intercept: (request, response) => {
      const place = `${request.method} ${request.path}`
      if (!Object.hasOwn(answers, place)) return intercept?.(request, response) ?? false
      json(response, answers[place])
      return true
    },
  })
  const rap = createRapClient({ baseUrl: controlPlane.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const asked = (request: ScriptedRequest) => [request.method, request.path, request.body]
  return { rap, sent: () => controlPlane.requests.slice(1).map(asked) }
}

/** Every call: what is sent, and what it makes of the answer. */
const CALLS: readonly [
  (rap: RapClient) => Promise<unknown>,
  [string, string, unknown],
  answer: unknown,
  given: unknown,
][] = [
  [
    rap => rap.workers.list({ limit: 5 }),
    ['GET', '/v1/workers?limit=5', undefined],
    { items: [WORKER], next_cursor: 'c' },
    { items: [WORKER], next_cursor: 'c' },
  ],
  [
    rap => rap.workers.revoke(ID),
    ['POST', `/v1/workers/${ID}/revoke`, {}],
    { ...REVOKED, id: ID, join_tokens_deleted: 1 },
    REVOKED,
  ],
  [
    rap =>
      rap.workers.createJoinToken({
        name: 'worker-1',
        dnsNames: ['worker-1.example'],
        ipAddresses: ['192.0.2.1'],
        labels: { site: 'a' },
        ttlSeconds: 600,
        workerId: ID,
      }),
    [
      'POST',
      '/v1/workers/join-tokens',
      { name: 'worker-1', ...NAMES, ttl_seconds: 600, labels: { site: 'a' }, worker_id: ID },
    ],
    { ...TOKEN, join_token: 'rapjoin.a.b.c' },
    { ...TOKEN, join_token: 'rapjoin.a.b.c' },
  ],
  [
    rap => rap.workers.createJoinToken({ name: 'worker-1', dnsNames: ['worker-1.example'] }),
    ['POST', '/v1/workers/join-tokens', { name: 'worker-1', dns_names: ['worker-1.example'], ip_addresses: [] }],
    { ...TOKEN, join_token: 'rapjoin.a.b.c' },
    { ...TOKEN, join_token: 'rapjoin.a.b.c' },
  ],
  [
    rap => rap.joinTokens.createForService({ service: 'gateway', dnsNames: ['gateway.internal'] }),
    ['POST', '/v1/services/join-tokens', { service: 'gateway', dns_names: ['gateway.internal'], ip_addresses: [] }],
    { ...TOKEN, kind: 'service', identity_id: 'gateway', join_token: 'rapjoin.a.b.c' },
    { ...TOKEN, kind: 'service', identity_id: 'gateway', join_token: 'rapjoin.a.b.c' },
  ],
  [
    rap => rap.joinTokens.list(),
    ['GET', '/v1/join-tokens', undefined],
    { items: [LISTED], next_cursor: null },
    { items: [LISTED], next_cursor: null },
  ],
  [rap => rap.joinTokens.delete(ID), ['DELETE', `/v1/join-tokens/${ID}`, undefined], undefined, undefined],
  [
    rap => rap.identities.list({ cursor: 'a' }),
    ['GET', '/v1/identities?cursor=a', undefined],
    { items: [IDENTITY, { ...IDENTITY, certificate: null }], next_cursor: null },
    { items: [IDENTITY, { ...IDENTITY, certificate: null }], next_cursor: null },
  ],
  [rap => rap.identities.revokeService('gateway'), ['POST', '/v1/services/gateway/revoke', {}], REVOKED, REVOKED],
  [rap => rap.identities.revokeCertificate('../0a'), ['POST', '/v1/certificates/..%2F0a/revoke', {}], REVOKED, REVOKED],
  [rap => rap.platformCa.status(), ['GET', '/v1/platform-ca', undefined], CA, CA],
  [rap => rap.platformCa.stage(), ['POST', '/v1/platform-ca/stage', {}], CA, CA],
  [rap => rap.platformCa.activate({ force: true }), ['POST', '/v1/platform-ca/activate', { force: true }], CA, CA],
  [rap => rap.platformCa.rollback(), ['POST', '/v1/platform-ca/rollback', {}], CA, CA],
  [rap => rap.platformCa.retire({ force: false }), ['POST', '/v1/platform-ca/retire', { force: false }], CA, CA],
  [rap => rap.platformCa.renewIntermediate(), ['POST', '/v1/platform-ca/renew-intermediate', {}], CA, CA],
  [rap => rap.signingKeys.list(), ['GET', '/v1/signing-keys', undefined], SIGNING, SIGNING],
  [rap => rap.signingKeys.rotate(), ['POST', '/v1/signing-keys/rotate', {}], { active_kid: 'k1' }, undefined],
  [rap => rap.signingKeys.rotate({ force: true }), ['POST', '/v1/signing-keys/rotate', { force: true }], {}, undefined],
  [rap => rap.signingKeys.revoke('k/1'), ['POST', '/v1/signing-keys/k%2F1/revoke', {}], {}, undefined],
]

t.test('every call sends what the API asks for, and gives what it knows of the answer', async t => {
  for (const [call, [method, path, body], answer, given] of CALLS) {
    const { rap, sent } = await client(t, { [`${method} ${path}`]: answer })
    t.same(await call(rap), given, `${method} ${path}`)
    t.strictSame(sent(), [[method, path, body]], `${method} ${path}`)
  }
})

t.test('a change that gets no answer is not sent again by itself', async t => {
  for (const [call, [method, path]] of CALLS.filter(([, [method]]) => method !== 'GET')) {
    let sent = 0
    const { rap } = await client(t, {}, (request, response) => {
      if (request.path !== path) return false
      sent += 1
      response.destroy()
      return true
    })
    await t.rejects(call(rap), { code: 'ERR_NETWORK' }, `${method} ${path}`)
    t.equal(sent, 1, `${method} ${path}`)
  }
})

t.test('a refused step says when to try again, or what is still in use', async t => {
  const refused = async (code: string, more: object) => {
    const { rap } = await client(t, {}, ({ path }, response) => {
      if (!path.startsWith('/v1/platform-ca')) return false
      problem(response, 409, code, more)
      return true
    })
    return rap.platformCa.activate()
  }
  await t.rejects(refused('ERR_PLATFORM_CA_OVERLAP', { retry_after_seconds: 300 }), {
    code: 'ERR_PLATFORM_CA_OVERLAP',
    retryAfterSeconds: 300,
  })
  await t.rejects(refused('ERR_PLATFORM_CA_IN_USE', { certificates_in_force: 4 }), {
    code: 'ERR_PLATFORM_CA_IN_USE',
    certificatesInForce: 4,
  })
  await t.rejects(refused('ERR_PLATFORM_CA_IN_USE', { certificates_in_force: 'x', retry_after_seconds: -1 }), {
    code: 'ERR_PLATFORM_CA_IN_USE',
    certificatesInForce: undefined,
    retryAfterSeconds: undefined,
  })
})

t.test('an answer of another form is refused, and key material in one is dropped', async t => {
  const { rap } = await client(t, {
    'GET /v1/platform-ca': {
      ...CA,
      private_key: 'canary',
      generations: [{ ...CA.generations[0], private_key: 'canary' }],
    },
    'GET /v1/signing-keys': { ...SIGNING, keys: [{ ...SIGNING.keys[0], private_jwk: 'canary' }] },
    'GET /v1/join-tokens': { items: [{ ...LISTED, join_token: 'canary' }], next_cursor: null },
    'GET /v1/identities': { items: [{ ...IDENTITY, kind: 'person' }], next_cursor: null },
    'POST /v1/platform-ca/stage': { ...CA, generations: [{ ...CA.generations[0], state: 'flying' }] },
  })
  const answers = [await rap.platformCa.status(), await rap.signingKeys.list(), await rap.joinTokens.list()]
  t.notMatch(JSON.stringify(answers), 'canary')
  await t.rejects(rap.identities.list(), { code: 'ERR_RESPONSE_INVALID' })
  await t.rejects(rap.platformCa.stage(), { code: 'ERR_RESPONSE_INVALID' })
})
