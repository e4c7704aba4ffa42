import { CHANNELS, DEFAULT_LIMITS, decidePolicy } from '@rap/session-policy'
import t from 'tap'
import { createRapClient } from '../src/index.ts'
import { json, ORGANIZATION_ID, problem, RESOURCE_ID, scriptedControlPlane, type Teardown } from './helper.ts'

const USER_ID = '55555555-5555-4555-8555-555555555555'
const stored = {
  document: { channels: ['display'] },
  version: 3,
  updated_at: '2026-01-01T00:00:00.000Z',
  updated_by: USER_ID,
}
const ORGANIZATION = `/v1/organizations/${ORGANIZATION_ID}/policy`
const RESOURCE = `/v1/resources/${RESOURCE_ID}`

async function client(t: Teardown, answers: Readonly<Record<string, unknown>>) {
  const { origin, requests } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: ({ method, path }, response) => {
      const answer = answers[`${method} ${path}`]
      if (answer === undefined) return false
      if (answer === 409) problem(response, 409, 'ERR_POLICY_CHANGED', { current_version: 4 })
      else json(response, answer)
      return true
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  return { rap, last: () => requests.at(-1) }
}

t.test('the policies of an organization and of a resource are read, written and deleted', async t => {
  for (const [path, owner] of [
    [ORGANIZATION, { organization_id: ORGANIZATION_ID }],
    [`${RESOURCE}/policy`, { resource_id: RESOURCE_ID }],
  ] as const) {
    const { rap, last } = await client(t, {
      [`GET ${path}`]: { ...owner, document: {}, version: 0, updated_at: null, updated_by: null },
      [`PUT ${path}`]: { ...owner, ...stored, sessions_changed: 2 },
      [`DELETE ${path}`]: { ...owner, ...stored, document: {}, sessions_changed: 1 },
      [`DELETE ${path}?version=2`]: 409,
    })
    const policy =
      path === ORGANIZATION ? rap.policies.organization(ORGANIZATION_ID) : rap.policies.resource(RESOURCE_ID)
    t.same(await policy.get(), { document: {}, version: 0, updated_at: null, updated_by: null })
    const document = { channels: ['display' as const], limits: { idle_seconds: null, upload_extensions: ['txt'] } }
    t.match(await policy.put(document, { version: 2 }), { version: 3, sessions_changed: 2 })
    t.same(last()?.body, { document, version: 2 })
    await policy.put(document)
    t.same(last()?.body, { document })
    t.match(await policy.delete(), { document: {}, sessions_changed: 1 })
    await t.rejects(policy.delete({ version: 2 }), { code: 'ERR_POLICY_CHANGED', currentVersion: 4 })
  }
})

t.test('a policy that somebody else has changed meanwhile is not written', async t => {
  const { rap } = await client(t, { [`PUT ${ORGANIZATION}`]: 409 })
  await t.rejects(rap.policies.organization(ORGANIZATION_ID).put({}, { version: 3 }), {
    code: 'ERR_POLICY_CHANGED',
    currentVersion: 4,
  })
})

t.test('grants of a resource are listed, written and deleted', async t => {
  const grant = { user_id: USER_ID, email: 'b@example.com', display_name: 'B', ...stored }
  const changed = { resource_id: RESOURCE_ID, user_id: USER_ID, ...stored, sessions_changed: 0 }
  const { rap, last } = await client(t, {
    [`GET ${RESOURCE}/grants?limit=1`]: { items: [grant], next_cursor: 'x' },
    [`PUT ${RESOURCE}/grants/${USER_ID}`]: changed,
    [`DELETE ${RESOURCE}/grants/${USER_ID}`]: { ...changed, document: {} },
    [`DELETE ${RESOURCE}/grants/${USER_ID}?version=2`]: 409,
  })
  const grants = rap.policies.grants(RESOURCE_ID)
  t.same(await grants.list({ limit: 1 }), { items: [grant], next_cursor: 'x' })
  t.match(await grants.put(USER_ID, { channels: [] }, { version: 3 }), { sessions_changed: 0 })
  t.same(last()?.body, { document: { channels: [] }, version: 3 })
  t.match(await grants.delete(USER_ID), { document: {} })
  await t.rejects(grants.delete(USER_ID, { version: 2 }), { code: 'ERR_POLICY_CHANGED' })
})

t.test('the policy in force names who decided each part', async t => {
  const decision = decidePolicy({ organization: { channels: [...CHANNELS] }, resource: { channels: ['display'] } })
  const answer = { resource_id: RESOURCE_ID, user_id: USER_ID, ...decision }
  const { rap } = await client(t, {
    [`GET ${RESOURCE}/effective-policy`]: answer,
    [`GET ${RESOURCE}/effective-policy?user_id=${USER_ID}`]: answer,
  })
  const mine = await rap.policies.effective(RESOURCE_ID)
  t.same(mine, answer)
  t.same(mine.channels.file_upload, { allowed: false, decided_by: 'resource' })
  t.same(mine.limits.clipboard_bytes, { value: DEFAULT_LIMITS.clipboard_bytes, decided_by: 'default' })
  t.same(await rap.policies.effective(RESOURCE_ID, { userId: USER_ID }), answer)
})

t.test('a policy that is none is no answer', async t => {
  for (const wrong of [{}, { ...stored, version: -1 }, { ...stored, document: { channels: ['printer'] } }]) {
    const { rap } = await client(t, { [`GET ${ORGANIZATION}`]: wrong })
    await t.rejects(rap.policies.organization(ORGANIZATION_ID).get(), { code: 'ERR_RESPONSE_INVALID' })
  }
})
