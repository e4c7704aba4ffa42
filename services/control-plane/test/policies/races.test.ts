import { CHANNELS } from '@rap/session-policy'
import t from 'tap'
import { newJkt, startStand } from '../helper.ts'

const stand = await startStand(t)
const limits = { SESSION_LIMIT_PER_USER: '1000', SESSION_LIMIT_PER_ORGANIZATION: '2000' }
const instance = await stand.build(limits)
const second = await stand.build(limits)
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker({ maxSessions: 10_000 })).start()
const policyUrl = `/v1/organizations/${organizationId}/policy`

async function put(document: unknown, url = policyUrl, at = instance) {
  return await at.call(admin, 'PUT', url, { body: { document } })
}

async function start(at = instance, resource = resourceId, user = operator) {
  return await at.call(user, 'POST', '/v1/sessions', {
    body: { resource_id: resource, dpop_jkt: await newJkt() },
  })
}

/** Live attachments with a channel that the policy of the moment does not allow. */
async function tooWide(channel: string): Promise<number> {
  const rows = await stand.sql`
    select 1 from rap.session_attachments
    where state in ('assigning', 'ready', 'active') and (${channel} = any(allowed_channels) or ${channel} = any(bound_channels))`
  return rows.length
}

async function endAll() {
  await stand.sql`
    update rap.session_attachments set state = 'closed', closed_at = now() where state in ('assigning', 'ready', 'active')`
  await stand.sql`
    update rap.remote_sessions set state = 'terminated', ended_at = now() where state not in ('terminated', 'failed')`
}

t.test('in 100 rounds no session begins under the policy from before while a new one is written', async t => {
  for (let round = 0; round < 100; round++) {
    await put({ channels: CHANNELS })
    const answers = await Promise.all([start(instance), start(second), put({ channels: ['display'] })])
    t.equal(await tooWide('input'), 0, `round ${round}`)
    if (answers.some(({ status }) => status >= 500)) t.fail(`round ${round} was answered with an error`)
    await endAll()
  }
})

t.test('an attach, a takeover and a bind do not get past a change either', async t => {
  for (let round = 0; round < 20; round++) {
    await put({ channels: CHANNELS })
    const { session, data_plane } = (await start()).body
    const [attached, , bound] = await Promise.all([
      second.call(operator, 'POST', `/v1/sessions/${session.id}/attachments`, {
        body: { dpop_jkt: await newJkt(), takeover: true },
      }),
      put({ channels: ['display'] }),
      worker.bind(data_plane.token, { requested_channels: ['input'] }),
    ])
    t.equal(await tooWide('input'), 0, `round ${round}: ${attached.status} ${bound.status}`)
    if (attached.status >= 500 || bound.status >= 500) t.fail('nobody waits in a circle')
    await endAll()
  }
})

t.test('under load every live session is narrowed before the load is over, and nobody waits in a circle', async t => {
  await put({ channels: CHANNELS })
  const resources = [resourceId, await stand.resource(organizationId), await stand.resource(organizationId)]
  const started = await Promise.all(
    Array.from({ length: 60 }, (_, n) => start(n % 2 === 0 ? instance : second, resources[n % 3]!)),
  )
  t.ok(started.every(({ status }) => status === 201))
  const sessions = started.map(({ body }) => body)
  const change = put({ channels: ['display', 'input'], limits: { session_seconds: 3600 } })
  const others = sessions.flatMap(({ session, data_plane }, n) => [
    worker.bind(
      data_plane.token,
      { requested_channels: ['clipboard_client_to_server'] },
      n % 2 === 0 ? second : instance,
    ),
    n % 4 === 0
      ? instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
      : start(second, resources[n % 3]!),
  ])
  let waiting = others.length
  for (const other of others) void other.then(() => waiting--)
  t.equal((await change).status, 200)
  t.ok(waiting > 0, 'whoever comes later waits for the change, and not the other way round')
  const answers = await Promise.all(others)
  t.same(
    answers.filter(({ status }) => status >= 500).map(({ status, text }) => `${status} ${text}`),
    [],
  )
  t.equal(await tooWide('clipboard_client_to_server'), 0)
  const [row] = await stand.sql`
    select count(*)::int as count from rap.remote_sessions
    where state in ('assigning', 'ready', 'active', 'detached') and ends_at is null`
  t.equal(row!.count, 0, 'and every session has an end')
  await endAll()
})

t.test('changes of all scopes at once, members that leave and resources that go end in no circle', async t => {
  await put({ channels: CHANNELS })
  const resources = await Promise.all(Array.from({ length: 4 }, () => stand.resource(organizationId)))
  for (let round = 0; round < 8; round++) {
    const leaver = await stand.user({ organizationId, role: 'operator' })
    const doomed = await stand.resource(organizationId)
    const { body } = await start(instance, resources[round % 4])
    const leaving = (await start(instance, resourceId, leaver)).body.session
    const answers = await Promise.all([
      ...resources.map((id, n) =>
        put({ limits: { upload_files: round + n + 1 } }, `/v1/resources/${id}/policy`, n % 2 === 0 ? instance : second),
      ),
      put({ channels: CHANNELS, limits: { upload_files: 100 + round } }, policyUrl, second),
      put({ limits: { upload_files: 5 } }, `/v1/resources/${doomed}/grants/${leaver.id}`),
      instance.call(leaver, 'POST', `/v1/sessions/${leaving.id}/attachments`, {
        body: { dpop_jkt: await newJkt(), takeover: true },
      }),
      second.call(admin, 'DELETE', `/v1/organizations/${organizationId}/members/${leaver.id}`),
      second.call(admin, 'DELETE', `/v1/resources/${doomed}`),
      second.call(operator, 'POST', `/v1/sessions/${body.session.id}/terminate`),
      ...resources.map(id => start(second, id)),
    ])
    t.same(
      answers.filter(({ status }) => status >= 500).map(({ text }) => text),
      [],
      `round ${round}`,
    )
    await endAll()
  }
})

t.test('a flood of changes in one organization leaves everybody else their answers, and has a bound', async t => {
  const elsewhere = await stand.organization()
  const neighbour = await stand.user({ organizationId: elsewhere, role: 'operator' })
  const changes = await stand.sql.begin(async tx => {
    // Something that takes long with the policies of this organization.
    await tx`select pg_advisory_xact_lock(hashtextextended(${`rap.policies:${organizationId}`}, 0))`
    let written = 0
    const flood = Array.from({ length: 100 }, async () => {
      const answer = await put({ channels: ['display'] })
      if (answer.status !== 429) written += 1
      return answer
    })
    t.equal((await instance.call(neighbour, 'GET', `/v1/resources?organization_id=${elsewhere}`)).status, 200)
    t.equal(written, 0, 'answered while all of them wait: a connection to the database is left')
    return { flood }
  })
  const answers = await Promise.all(changes.flood)
  t.same([...new Set(answers.map(({ status }) => status))].sort(), [200, 429])
  t.equal(answers.filter(({ body }) => body.code === 'ERR_RATE_LIMITED').length, 32)
})
