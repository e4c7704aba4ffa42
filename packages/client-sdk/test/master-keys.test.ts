import t from 'tap'
import { createRapClient } from '../src/index.ts'
import {
  type ControlPlaneScript,
  json,
  problem,
  RESOURCE_ID,
  type ScriptedRequest,
  SESSION_ID,
  scriptedControlPlane,
  type Teardown,
} from './helper.ts'

const AT = '2026-01-01T00:00:00.000Z'
const VERSION = {
  secret_ref: 'rap-secret://x',
  version: 2,
  key_id: 'key-1',
  algorithm: 'AES-256-GCM',
  payload_sha256: '0'.repeat(64),
  created_at: AT,
  created_by: null,
}
const HISTORY = [
  { ...VERSION, state: 'live', superseded_at: null, destroy_after: null, destroyed_at: null },
  { ...VERSION, version: 1, state: 'destroyed', superseded_at: AT, destroy_after: null, destroyed_at: AT },
]
const KEYS = {
  items: [
    {
      key_id: 'vault-1:3',
      source: 'vault-1',
      state: 'active',
      provider: 'vault',
      algorithm: 'aes256-gcm96',
      location: 'https://vault.example/transit/rap',
      secrets: 4,
      sealing_keys: 1,
      missing_on: [],
      created_at: AT,
      activated_at: AT,
      retired_at: null,
    },
  ],
  sources: [{ name: 'vault-1', health: 'ok' }],
  instances: [{ name: 'host:42', sources: ['vault-1'], seen_at: AT }],
}
const PLAN = { to_key_id: 'vault-1:3', from: [{ key_id: 'local-1', rows: 5 }], total: 5 }
const REWRAP = {
  id: SESSION_ID,
  to_key_id: 'vault-1:3',
  total: 5,
  remaining: 2,
  failed: 0,
  state: 'running',
  rate_per_second: 1.5,
  seconds_left: 2,
  created_at: AT,
  finished_at: null,
}

/** A client that is logged in to a server with these answers by method and path. */
async function client(t: Teardown, answers: Record<string, unknown>, intercept?: ControlPlaneScript['intercept']) {
  const controlPlane = await scriptedControlPlane(t, {
    candidates: [],
    intercept: (request, response) => {
      const answer = answers[`${request.method} ${request.path}`]
      if (answer === undefined) return intercept?.(request, response) ?? false
      json(response, answer, request.path === '/v1/rewraps' && request.method === 'POST' ? 202 : 200)
      return true
    },
  })
  const rap = createRapClient({ baseUrl: controlPlane.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const sent = () =>
    controlPlane.requests.slice(1).map(({ method, path, body }: ScriptedRequest) => [method, path, body])
  return { rap, sent }
}

t.test('the history of a secret is read, and a version of it is put in force again', async t => {
  const path = `/v1/resources/${RESOURCE_ID}/secret`
  const { rap, sent } = await client(t, {
    [`GET ${path}/versions`]: { items: HISTORY, newer_member: 1 },
    [`POST ${path}/rollback`]: VERSION,
  })
  t.same(await rap.resources.listSecretVersions(RESOURCE_ID), HISTORY)
  t.same(await rap.resources.rollbackSecret(RESOURCE_ID, 1, { expectedVersion: 2 }), VERSION)
  await rap.resources.rollbackSecret(RESOURCE_ID, 1)
  t.same(sent().slice(1), [
    ['POST', `${path}/rollback`, { to_version: 1, expected_version: 2 }],
    ['POST', `${path}/rollback`, { to_version: 1 }],
  ])
})

t.test('a rollback over a version that was not seen says which one is in force, and is not tried again', async t => {
  let rollbacks = 0
  const { rap } = await client(t, {}, ({ path }, response) => {
    if (!path.endsWith('/rollback')) return false
    rollbacks += 1
    problem(response, 409, 'ERR_SECRET_VERSION_CONFLICT', { current_version: 7 })
    return true
  })
  await t.rejects(rap.resources.rollbackSecret(RESOURCE_ID, 1, { expectedVersion: 2 }), {
    code: 'ERR_SECRET_VERSION_CONFLICT',
    currentVersion: 7,
  })
  t.equal(rollbacks, 1)
})

t.test('master keys are listed, rotated and retired with the bodies of the API', async t => {
  const { rap, sent } = await client(t, {
    'GET /v1/master-keys': KEYS,
    'POST /v1/master-keys/rotate': { previous_key_id: 'local-1', active_key_id: 'vault-1:3' },
    'POST /v1/master-keys/local%3A1/retire': { key_id: 'local:1' },
  })
  t.same(await rap.masterKeys.list(), KEYS)
  t.same(await rap.masterKeys.rotate('vault-1'), { previous_key_id: 'local-1', active_key_id: 'vault-1:3' })
  await rap.masterKeys.retire('local:1')
  t.same(sent(), [
    ['GET', '/v1/master-keys', undefined],
    ['POST', '/v1/master-keys/rotate', { source: 'vault-1' }],
    ['POST', '/v1/master-keys/local%3A1/retire', {}],
  ])
})

t.test('a re-wrap is planned, started and followed', async t => {
  const { rap, sent } = await client(t, {
    'GET /v1/rewraps/plan': PLAN,
    'GET /v1/rewraps': { items: [REWRAP] },
    'POST /v1/rewraps': REWRAP,
    [`GET /v1/rewraps/${SESSION_ID}`]: { ...REWRAP, seconds_left: null, rate_per_second: 0 },
  })
  t.same(await rap.rewraps.plan(), PLAN)
  t.same(await rap.rewraps.list(), [REWRAP])
  t.same(await rap.rewraps.start(), REWRAP)
  t.match(await rap.rewraps.get(SESSION_ID), { seconds_left: null, rate_per_second: 0 })
  t.same(sent()[2], ['POST', '/v1/rewraps', {}])
})

t.test('a change of keys that gets no answer is not sent again by itself', async t => {
  let sent = 0
  const { rap } = await client(t, {}, ({ path, method }, response) => {
    if (method !== 'POST' || !/^\/v1\/(master-keys|rewraps)/.test(path)) return false
    sent += 1
    response.destroy()
    return true
  })
  const changes: (() => Promise<unknown>)[] = [
    () => rap.masterKeys.rotate('vault-1'),
    () => rap.masterKeys.retire('local-1'),
    () => rap.rewraps.start(),
  ]
  for (const change of changes) {
    sent = 0
    await t.rejects(change(), { code: 'ERR_NETWORK' })
    t.equal(sent, 1)
  }
})

t.test('an answer of another form is refused, and key material in one is dropped', async t => {
  const { rap } = await client(t, {
    'GET /v1/master-keys': { ...KEYS, items: [{ ...KEYS.items[0], key_b64: 'canary' }], key_b64: 'canary' },
    'GET /v1/rewraps/plan': { ...PLAN, total: -1 },
    'GET /v1/rewraps': { items: [{ ...REWRAP, state: 'flying' }] },
    [`GET /v1/resources/${RESOURCE_ID}/secret/versions`]: { items: [{ ...HISTORY[0], state: 'flying' }] },
  })
  t.notMatch(JSON.stringify(await rap.masterKeys.list()), 'canary')
  const looks: (() => Promise<unknown>)[] = [
    () => rap.rewraps.plan(),
    () => rap.rewraps.list(),
    () => rap.resources.listSecretVersions(RESOURCE_ID),
  ]
  for (const look of looks) {
    await t.rejects(look(), { code: 'ERR_RESPONSE_INVALID' })
  }
})
