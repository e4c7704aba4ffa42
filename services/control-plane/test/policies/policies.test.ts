import { randomUUID } from 'node:crypto'
import { CHANNELS, DEFAULT_LIMITS, DEFAULT_POLICY } from '@rap/session-policy'
import t from 'tap'
import { newJkt, startStand, type TestUser } from '../helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
await instance.worker().then(worker => worker.start())

/** An organization of its own for one test, with an admin, an operator and a resource. */
async function scene() {
  const organizationId = await stand.organization()
  const admin = await stand.user({ organizationId, role: 'admin' })
  const operator = await stand.user({ organizationId, role: 'operator' })
  const resourceId = await stand.resource(organizationId)
  const urls = {
    organization: `/v1/organizations/${organizationId}/policy`,
    resource: `/v1/resources/${resourceId}/policy`,
    grant: `/v1/resources/${resourceId}/grants/${operator.id}`,
    grants: `/v1/resources/${resourceId}/grants`,
    effective: `/v1/resources/${resourceId}/effective-policy`,
  }
  return { organizationId, admin, operator, resourceId, urls }
}

async function put(user: TestUser, url: string, document: unknown, version?: number) {
  return await instance.call(user, 'PUT', url, { body: { document, ...(version !== undefined && { version }) } })
}

async function start(user: TestUser, resourceId: string) {
  return await instance.call(user, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
}

t.test('without a policy there is an empty one of version 0, and the default holds', async t => {
  const { organizationId, admin, operator, resourceId, urls } = await scene()
  t.same((await instance.call(admin, 'GET', urls.organization)).body, {
    organization_id: organizationId,
    document: {},
    version: 0,
    updated_at: null,
    updated_by: null,
  })
  t.match((await instance.call(admin, 'GET', urls.resource)).body, { resource_id: resourceId, version: 0 })
  t.same((await instance.call(admin, 'GET', urls.grants)).body, { items: [], next_cursor: null })
  const { body } = await instance.call(operator, 'GET', urls.effective)
  t.match(body, { resource_id: resourceId, user_id: operator.id })
  for (const channel of CHANNELS) {
    const allowed = DEFAULT_POLICY.channels.includes(channel)
    t.same(body.channels[channel], { allowed, decided_by: 'default' }, channel)
  }
  t.same(body.limits.clipboard_bytes, { value: DEFAULT_LIMITS.clipboard_bytes, decided_by: 'default' })
  const started = await start(operator, resourceId)
  t.same(started.body.attachment.allowed_channels, DEFAULT_POLICY.channels)
  t.same(started.body.attachment.limits, DEFAULT_LIMITS)
  t.match(started.body, { session: { ends_at: null }, attachment: { session_ends_at: null, reason: null } })
})

t.test('what each scope denies of each channel is denied, and the decision names the scope', async t => {
  for (const scope of ['organization', 'resource', 'grant'] as const) {
    const { admin, operator, resourceId, urls } = await scene()
    await put(admin, urls.organization, { channels: CHANNELS })
    for (const channel of CHANNELS) {
      t.equal((await put(admin, urls[scope], { channels: CHANNELS.filter(name => name !== channel) })).status, 200)
      const { body } = await instance.call(operator, 'GET', urls.effective)
      for (const name of CHANNELS) {
        const expected =
          name === channel ? { allowed: false, decided_by: scope } : { allowed: true, decided_by: 'organization' }
        t.same(body.channels[name], expected, `${scope} without ${channel}: ${name}`)
      }
      const started = await start(operator, resourceId)
      t.same(
        started.body.attachment.allowed_channels,
        CHANNELS.filter(name => name !== channel),
      )
      await instance.call(operator, 'POST', `/v1/sessions/${started.body.session.id}/terminate`)
    }
  }
})

t.test('neither a resource nor a grant gives what the organization does not', async t => {
  const { admin, operator, resourceId, urls } = await scene()
  await put(admin, urls.resource, { channels: CHANNELS, limits: { clipboard_bytes: 4_000_000 } })
  await put(admin, urls.grant, { channels: CHANNELS, limits: { clipboard_bytes: 8_000_000 } })
  const { attachment } = (await start(operator, resourceId)).body
  t.same(attachment.allowed_channels, DEFAULT_POLICY.channels)
  t.same(attachment.limits, DEFAULT_LIMITS)
})

t.test('a grant is for one member on one resource alone', async t => {
  const { organizationId, admin, operator, resourceId, urls } = await scene()
  const colleague = await stand.user({ organizationId, role: 'operator' })
  const elsewhere = await stand.resource(organizationId)
  await put(admin, urls.grant, { channels: ['display'], limits: { idle_seconds: 60 } })
  t.same((await start(operator, resourceId)).body.attachment.allowed_channels, ['display'])
  t.same((await start(operator, elsewhere)).body.attachment.allowed_channels, DEFAULT_POLICY.channels)
  const other = (await start(colleague, resourceId)).body.attachment
  t.same(other.allowed_channels, DEFAULT_POLICY.channels)
  t.equal(other.limits.idle_seconds, null)
})

t.test(
  'a policy without display is legal; one that leaves nothing of the desktop starts no session, which is audited',
  async t => {
    const { organizationId, admin, operator, resourceId, urls } = await scene()
    await put(admin, urls.organization, { channels: ['input', 'file_upload'] })
    const started = await start(operator, resourceId)
    t.same(started.body.attachment.allowed_channels, ['input', 'file_upload'])
    for (const channels of [[], ['file_upload', 'events']]) {
      await put(admin, urls.organization, { channels })
      const refused = await start(operator, resourceId)
      t.equal(refused.status, 403)
      t.match(refused.body, { code: 'ERR_SESSION_POLICY_DENIED', detail: /all off for you/, remedy: /administrator/ })
      t.match((await stand.audit(organizationId)).at(-1), {
        event: 'session_refused',
        outcome: 'refused',
        code: 'ERR_SESSION_POLICY_DENIED',
        actor_id: operator.id,
        resource_id: resourceId,
      })
    }
    const detached = (await start(operator, resourceId)).status
    t.equal(detached, 403)
    await instance.call(operator, 'POST', `/v1/sessions/${started.body.session.id}/detach`)
    const attach = await instance.call(operator, 'POST', `/v1/sessions/${started.body.session.id}/attachments`, {
      body: { dpop_jkt: await newJkt() },
    })
    t.equal(attach.body.code, 'ERR_SESSION_POLICY_DENIED', 'nor is one attached to')
  },
)

t.test('the policy is in the assignment as in the attachment', async t => {
  const { admin, operator, urls, organizationId } = await scene()
  const worker = (await instance.worker({ labels: { pool: organizationId } })).start()
  const resource = await stand.resource(organizationId, { labels: { pool: organizationId } })
  await put(admin, urls.organization, {
    channels: CHANNELS,
    limits: { session_seconds: 3600, upload_extensions: ['pdf', ''] },
  })
  const { session, attachment } = (await start(operator, resource)).body
  const assignment = worker.assignments.at(-1)!
  t.same(assignment.allowed_channels, CHANNELS)
  t.same(assignment.limits, { ...DEFAULT_LIMITS, session_seconds: 3600, upload_extensions: ['pdf', ''] })
  t.same(attachment.limits, assignment.limits)
  t.equal(Date.parse(session.ends_at) - Date.parse(session.created_at), 3_600_000)
  t.equal(attachment.session_ends_at, session.ends_at)
})

t.test('of two who write at once, the later is told that the policy was changed', async t => {
  const { admin, urls } = await scene()
  t.match((await put(admin, urls.organization, { channels: ['display'] }, 0)).body, { version: 1 })
  const late = await put(admin, urls.organization, { channels: CHANNELS }, 0)
  t.equal(late.status, 409)
  t.match(late.body, { code: 'ERR_POLICY_CHANGED', current_version: 1 })
  t.match((await instance.call(admin, 'GET', urls.organization)).body, { document: { channels: ['display'] } })
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, index) => put(admin, urls.organization, { limits: { upload_files: index + 1 } }, 1)),
  )
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal(answers.filter(({ body }) => body.code === 'ERR_POLICY_CHANGED').length, 9)
  t.equal((await instance.call(admin, 'DELETE', `${urls.organization}?version=1`)).body.code, 'ERR_POLICY_CHANGED')
  t.match((await instance.call(admin, 'DELETE', `${urls.organization}?version=2`)).body, { document: {}, version: 0 })
})

t.test('a version is never used twice, so that nobody overwrites what came after a deletion', async t => {
  const { admin, urls } = await scene()
  for (const url of [urls.organization, urls.resource, urls.grant]) {
    const seen = (await put(admin, url, { channels: ['display'] })).body.version
    await instance.call(admin, 'DELETE', url)
    await put(admin, url, { channels: ['input'] })
    t.equal((await put(admin, url, { channels: CHANNELS }, seen)).body.code, 'ERR_POLICY_CHANGED')
  }
})

t.test('a policy that is deleted is gone, and deleting it again changes nothing', async t => {
  const { organizationId, admin, operator, resourceId, urls } = await scene()
  await put(admin, urls.grant, { channels: ['display'] })
  t.equal((await instance.call(admin, 'GET', urls.grants)).body.items.length, 1)
  t.match((await instance.call(admin, 'DELETE', urls.grant)).body, { document: {}, version: 0, updated_by: null })
  t.equal((await instance.call(admin, 'GET', urls.grants)).body.items.length, 0)
  t.same((await start(operator, resourceId)).body.attachment.allowed_channels, DEFAULT_POLICY.channels)
  const before = (await stand.audit(organizationId)).length
  t.match((await instance.call(admin, 'DELETE', urls.grant)).body, { sessions_changed: 0 })
  t.equal((await stand.audit(organizationId)).length, before)
})

t.test('names and values that do not exist are refused, and the refusal names them', async t => {
  const { admin, urls } = await scene()
  const cases: [unknown, RegExp][] = [
    [{ channels: ['display', 'teleport'] }, /There is no channel .*teleport.*clipboard_client_to_server/],
    [{ limits: { lunch_seconds: 60 } }, /lunch_seconds/],
    [{ colour: 'blue' }, /colour/],
    [{ limits: { idle_seconds: 59 } }, /idle_seconds/],
    [{ limits: { session_seconds: 2_592_001 } }, /session_seconds/],
    [{ limits: { clipboard_bytes: null } }, /clipboard_bytes/],
    [{ limits: { upload_files: 1.5 } }, /upload_files/],
    [{ limits: { upload_files: '5' } }, /upload_files/],
    [{ limits: { upload_extensions: ['.PDF'] } }, /upload_extensions/],
    [{ limits: { upload_extensions: Array.from({ length: 101 }, (_, n) => `e${n}`) } }, /upload_extensions/],
    [{ channels: ['display', 'display'] }, /channels/],
    [{ channels: Array.from({ length: 17 }, (_, n) => `c${n}`) }, /channels/],
    [{ channels: ['x'.repeat(41)] }, /channels/],
    [{ channels: ['constructor', 'display'] }, /There is no channel .*constructor/],
    [{ channels: ['__proto__'] }, /channels/],
    [{ channels: [['display']] }, /channels/],
    ...[0, -1, 1e21, 2 ** 53, 2 ** 31, '60', true, [60]].map((value): [unknown, RegExp] => [
      { limits: { idle_seconds: value } },
      /idle_seconds/,
    ]),
    [{ limits: { upload_session_bytes: 2 ** 53 } }, /upload_session_bytes/],
    [{ limits: { upload_extensions: ['pdf', 'pdf'] } }, /upload_extensions/],
    [{ limits: { upload_extensions: 'pdf' } }, /upload_extensions/],
    [{ limits: null }, /limits/],
    [{ channels: 'display' }, /channels/],
    [null, /document/],
    [[], /document/],
  ]
  for (const [document, words] of cases) {
    const { status, text } = await put(admin, urls.organization, document)
    t.equal(status, 400, JSON.stringify(document))
    t.match(text, words)
  }
  t.equal((await instance.call(admin, 'PUT', urls.organization, { body: {} })).status, 400)
  for (const version of [-1, 1.5, '1', 2 ** 31]) {
    t.equal((await put(admin, urls.organization, {}, version as number)).status, 400, String(version))
  }
  for (const version of ['', '-1', '1.5', '2147483648', 'x', '0&version=1', '__proto__']) {
    const { status } = await instance.call(admin, 'DELETE', `${urls.organization}?version=${version}`)
    t.equal(status, 400, `?version=${version}`)
  }
  t.match((await instance.call(admin, 'GET', urls.organization)).body, { version: 0 })
})

t.test('a document that is not one, or is too large, is refused before anything looks into it', async t => {
  const { admin, urls } = await scene()
  const payloads: [string, number][] = [
    ['{"document":{"__proto__":{"channels":["file_upload"]}}}', 400],
    ['{"document":{"constructor":{"prototype":{"channels":["file_upload"]}}}}', 400],
    ['{"document":{"limits":{"__proto__":{"idle_seconds":null}}}}', 400],
    ['{"document":{"channels":["display"],"channels":["teleport"]}}', 400],
    [`{"document":${'['.repeat(10_000)}${']'.repeat(10_000)}}`, 400],
    [JSON.stringify({ document: { channels: ['display'], padding: 'x'.repeat(2 ** 20) } }), 413],
  ]
  for (const [payload, status] of payloads) {
    const answer = await instance.controlPlane.publicApp.inject({
      method: 'PUT',
      url: urls.organization,
      headers: { authorization: `Bearer ${admin.token}`, 'content-type': 'application/json' },
      payload,
    })
    t.equal(answer.statusCode, status, payload.slice(0, 60))
  }
  t.match((await instance.call(admin, 'GET', urls.organization)).body, { version: 0 })
})

t.test('the widest document that the schema takes is stored', async t => {
  const { admin, urls } = await scene()
  const limits = {
    ...DEFAULT_LIMITS,
    idle_seconds: 604_800,
    session_seconds: 2_592_000,
    upload_session_bytes: 4096 * 2 ** 30,
    upload_extensions: Array.from({ length: 100 }, (_, n) => `e${n}`.padEnd(16, 'x')),
  }
  const { status, body } = await put(admin, urls.organization, { channels: [...CHANNELS].reverse(), limits })
  t.equal(status, 200)
  t.same(body.document, { channels: CHANNELS, limits }, 'with its channels in the order of the table')
})

t.test('a grant is for members alone, and leaves with them', async t => {
  const { organizationId, admin, operator, resourceId, urls } = await scene()
  const stranger = await stand.user({ organizationId: await stand.organization(), role: 'operator' })
  for (const id of [stranger.id, randomUUID()]) {
    const url = `${urls.grants}/${id}`
    t.equal((await put(admin, url, { channels: ['display'] })).status, 404)
    t.equal((await instance.call(admin, 'DELETE', url)).status, 404)
    t.equal((await instance.call(admin, 'GET', `${urls.effective}?user_id=${id}`)).status, 404)
  }
  await put(admin, urls.grant, { channels: ['display'] })
  await instance.call(admin, 'DELETE', `/v1/organizations/${organizationId}/members/${operator.id}`)
  t.equal((await instance.call(admin, 'GET', urls.grants)).body.items.length, 0)
  t.equal((await put(admin, urls.grant, { channels: ['display'] })).status, 404)
  await stand.member(organizationId, operator.id, 'operator')
  t.same((await start(operator, resourceId)).body.attachment.allowed_channels, DEFAULT_POLICY.channels)
})

t.test('a grant that is written while its member leaves stays with nobody', async t => {
  const { organizationId, admin, resourceId } = await scene()
  for (let round = 0; round < 20; round++) {
    const leaver = await stand.user({ organizationId, role: 'operator' })
    const url = `/v1/resources/${resourceId}/grants/${leaver.id}`
    const [written, removed] = await Promise.all([
      put(admin, url, { channels: ['display'] }),
      instance.call(admin, 'DELETE', `/v1/organizations/${organizationId}/members/${leaver.id}`),
    ])
    t.ok([200, 404].includes(written.status), String(written.status))
    t.equal(removed.status, 204)
    const rows = await stand.sql`select 1 from rap.policies where user_id = ${leaver.id}`
    t.equal(rows.length, 0)
  }
})

t.test('a resource that is deleted takes its policy and its grants along', async t => {
  const { admin, resourceId, urls } = await scene()
  await put(admin, urls.resource, { channels: ['display'] })
  await put(admin, urls.grant, { channels: ['display'] })
  t.equal((await instance.call(admin, 'DELETE', `/v1/resources/${resourceId}`)).status, 204)
  t.equal((await stand.sql`select 1 from rap.policies where resource_id = ${resourceId}`).length, 0)
  t.equal((await put(admin, urls.resource, { channels: ['display'] })).status, 404)
})

t.test('the policies of another organization are not there', async t => {
  const { urls } = await scene()
  const { admin: stranger, organizationId: foreign } = await scene()
  for (const [url, document] of Object.entries({
    [urls.organization]: { channels: [] },
    [urls.resource]: { channels: [] },
    [`${urls.grants}/${stranger.id}`]: { channels: [] },
  })) {
    t.equal((await put(stranger, url, document)).status, 404, url)
    t.equal((await instance.call(stranger, 'DELETE', url)).status, 404, url)
  }
  t.equal((await instance.call(stranger, 'GET', urls.effective)).status, 404)
  t.equal((await stand.audit(foreign)).length, 0)
})

t.test('grants are listed page by page with the people that they are for', async t => {
  const { organizationId, admin, resourceId, urls } = await scene()
  const people: string[] = []
  for (let n = 0; n < 5; n++) {
    const user = await stand.user({ organizationId, role: 'operator' })
    people.push(user.email)
    await put(admin, `/v1/resources/${resourceId}/grants/${user.id}`, { limits: { upload_files: n + 1 } })
  }
  const seen: string[] = []
  for (let url = `${urls.grants}?limit=2`; ; ) {
    const { body } = await instance.call(admin, 'GET', url)
    seen.push(...body.items.map((item: { email: string }) => item.email))
    if (body.next_cursor === null) break
    url = `${urls.grants}?limit=2&cursor=${body.next_cursor}`
  }
  t.same(seen, people)
})

t.test('everybody sees the own effective policy, and that of others with policies.read', async t => {
  const { organizationId, admin, operator, urls } = await scene()
  await put(admin, urls.grant, { channels: ['display'], limits: { idle_seconds: 600 } })
  const own = await instance.call(operator, 'GET', urls.effective)
  t.same(own.body.channels.input, { allowed: false, decided_by: 'grant' })
  t.same(own.body.limits.idle_seconds, { value: 600, decided_by: 'grant' })
  const auditor = await stand.user({ organizationId, role: 'auditor' })
  const seen = await instance.call(auditor, 'GET', `${urls.effective}?user_id=${operator.id}`)
  t.same(seen.body, own.body)
  t.equal((await instance.call(operator, 'GET', `${urls.effective}?user_id=${auditor.id}`)).status, 403)
  t.equal((await instance.call(operator, 'GET', `${urls.effective}?user_id=${operator.id}`)).status, 200)
})

t.test('the audit tells who changed which policy, from what to what', async t => {
  const { organizationId, admin, operator, resourceId, urls } = await scene()
  await put(admin, urls.organization, { channels: ['display', 'input'], limits: { idle_seconds: 900 } })
  await put(admin, urls.grant, { channels: [] })
  await instance.call(admin, 'DELETE', urls.organization)
  const events = (await stand.audit(organizationId)).filter(({ event }) => event === 'policy_changed')
  t.match(events, [
    {
      actor_id: admin.id,
      user_id: admin.id,
      resource_id: null,
      details: {
        scope: 'organization',
        deleted: false,
        channels_before: null,
        channels_after: 'display,input',
        limits_before: null,
        limits: '{"idle_seconds":900}',
        sessions_changed: 0,
      },
    },
    {
      actor_id: admin.id,
      user_id: operator.id,
      resource_id: resourceId,
      details: { scope: 'grant', user_id: operator.id, channels_before: null, channels_after: '' },
    },
    {
      details: {
        scope: 'organization',
        deleted: true,
        channels_before: 'display,input',
        channels_after: null,
        limits_before: '{"idle_seconds":900}',
        limits: null,
      },
    },
  ])
})

t.test(
  'the audit has the whole of the longest list of extensions, before and after, so that no change hides behind its end',
  async t => {
    const { organizationId, admin, urls } = await scene()
    const listOf = (last: string) => [...Array.from({ length: 99 }, (_, n) => `e${n}`.padEnd(16, 'x')), last]
    for (const last of ['pdf', 'exe']) {
      await put(admin, urls.organization, { limits: { upload_extensions: listOf(last), idle_seconds: 900 } })
    }
    const [, event] = (await stand.audit(organizationId)).filter(({ event }) => event === 'policy_changed')
    const details = event?.details as Record<string, string>
    const textOf = (name: string) =>
      [name, ...[2, 3, 4, 5].map(n => `${name}_${n}`)].map(key => details[key] ?? '').join('')
    t.same(JSON.parse(textOf('limits_before')), { idle_seconds: 900, upload_extensions: listOf('pdf') })
    t.equal(textOf('limits'), textOf('limits_before').replace('"pdf"', '"exe"'), 'in the same order')
  },
)

t.test('the permissions of a role are told in /v1/me', async t => {
  const { admin, operator } = await scene()
  const of = async (user: TestUser) =>
    (await instance.call(user, 'GET', '/v1/me')).body.memberships[0].permissions.filter((name: string) =>
      name.startsWith('policies.'),
    )
  t.same(await of(admin), ['policies.read', 'policies.manage'])
  t.same(await of(operator), [])
})
