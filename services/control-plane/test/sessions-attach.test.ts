import t from 'tap'
import { sweep } from '../src/sessions/reaper.ts'
import { newJkt, startStand, type TestUser } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()

async function start(user: TestUser = operator) {
  const { body } = await instance.call(user, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  return body as { session: { id: string }; attachment: { id: string }; data_plane: { token: string } }
}

async function attach(sessionId: string, takeover?: boolean, user: TestUser = operator) {
  return await instance.call(user, 'POST', `/v1/sessions/${sessionId}/attachments`, {
    body: { dpop_jkt: await newJkt(), ...(takeover === undefined ? {} : { takeover }) },
  })
}

async function read(sessionId: string, user: TestUser = operator) {
  return (await instance.call(user, 'GET', `/v1/sessions/${sessionId}`)).body
}

/** Control messages to the worker while `act` runs. */
async function messagesDuring(act: () => Promise<unknown>): Promise<unknown[]> {
  const subscriber = stand.redis.duplicate()
  const messages: unknown[] = []
  subscriber.on('message', (_channel, message) => messages.push(JSON.parse(message)))
  await subscriber.subscribe(`rap:worker:${worker.id}:control`)
  await act()
  await subscriber.unsubscribe()
  subscriber.disconnect()
  return messages
}

t.test('detach closes the attachment, tells the worker and leaves the session detached', async t => {
  const { session, attachment } = await start()
  const messages = await messagesDuring(async () => {
    const { status, body } = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`, { body: {} })
    t.equal(status, 200)
    t.equal(body.state, 'detached')
  })
  t.same(messages, [{ type: 'close_attachment', attachment_id: attachment.id, reason: 'ERR_SESSION_DETACHED' }])
  const seen = await instance.internal(worker.peer, 'GET', `/internal/v1/attachments/${attachment.id}`)
  t.match(seen.body, { state: 'closed', reason: 'ERR_SESSION_DETACHED' })
  t.equal((await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)).status, 200, 'again')
  t.equal(worker.assignments.filter(one => one.session_id === session.id).length, 1)
  const [lease] = await stand.sql`select lease_id from rap.session_attachments where id = ${attachment.id}`
  t.equal(await stand.redis.exists(`rap:lease:${lease!.lease_id}`), 0, 'the lease is gone')
})

t.test('attach to a detached session makes a new attachment with a new key', async t => {
  const { session, attachment } = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  const { status, body } = await attach(session.id)
  t.equal(status, 201)
  t.equal(body.session.id, session.id)
  t.not(body.attachment.id, attachment.id)
  t.equal(body.attachment.ordinal, 2)
  t.equal((await read(session.id)).state, 'ready')
})

t.test('attach to an attached session is refused without takeover', async t => {
  const { session } = await start()
  const { status, body } = await attach(session.id)
  t.equal(status, 409)
  t.match(body, { code: 'ERR_SESSION_ATTACHED', session_id: session.id })
})

t.test('takeover supersedes the live attachment, whose worker is told and whose token never binds again', async t => {
  const first = await start()
  let second: Awaited<ReturnType<typeof attach>> | undefined
  const messages = await messagesDuring(async () => {
    second = await attach(first.session.id, true)
  })
  t.equal(second!.status, 201)
  t.match(messages[0], {
    type: 'close_attachment',
    attachment_id: first.attachment.id,
    reason: 'ERR_SESSION_TAKEN_OVER',
  })
  t.equal(worker.assignments.at(-1)!.supersedes_attachment_id, first.attachment.id)
  const refused = await worker.bind(first.data_plane.token)
  t.match(refused.body, { code: 'ERR_BIND_ATTACHMENT_SUPERSEDED' })
  t.equal((await worker.bind(second!.body.data_plane.token)).status, 200)
  const late = await worker.report(first.attachment.id, { state: 'closed', reason: 'client_gone' })
  t.match(late.body, { code: 'ERR_ATTACHMENT_STATE', state: 'superseded' })
  t.equal((await read(first.session.id)).state, 'active', 'the late report of the old attachment changes nothing')
  const events = (await stand.audit(organizationId)).filter(event => event.session_id === first.session.id)
  t.same(
    events.map(event => event.event),
    ['session_started', 'session_taken_over', 'session_attached', 'data_plane_bind_refused', 'data_plane_bound'],
  )
})

t.test('of parallel takeovers one attachment is live in the end, and every other one is superseded', async t => {
  const { session } = await start()
  const answers = await Promise.all([1, 2, 3, 4].map(() => attach(session.id, true)))
  t.ok(answers.every(answer => answer.status === 201 || answer.status === 409))
  const rows = await stand.sql`
    select state from rap.session_attachments where session_id = ${session.id} order by ordinal`
  t.same(
    rows.map(row => row.state),
    ['superseded', 'superseded', 'superseded', 'superseded', 'ready'],
  )
})

t.test('an attach that fails leaves the session detached, so that it can be tried again', async t => {
  const { session } = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  worker.reaction = { failure: { code: 'ERR_TARGET_CONNECT_REFUSED', title: 'Refused' } }
  const { status, body } = await attach(session.id)
  worker.reaction = 'ready'
  t.equal(status, 502)
  t.equal(body.code, 'ERR_TARGET_CONNECT_REFUSED')
  t.match(await read(session.id), { state: 'detached', attachment: { state: 'failed' } })
  t.equal((await attach(session.id)).status, 201)
})

t.test('terminate ends a session for good, once', async t => {
  const { session, attachment } = await start()
  const messages = await messagesDuring(async () => {
    t.equal((await instance.call(operator, 'POST', `/v1/sessions/${session.id}/terminate`)).body.state, 'terminated')
  })
  t.match(messages, [{ attachment_id: attachment.id, reason: 'ERR_SESSION_TERMINATED' }])
  t.equal((await instance.call(operator, 'POST', `/v1/sessions/${session.id}/terminate`)).status, 200)
  t.match((await attach(session.id)).body, { code: 'ERR_SESSION_ENDED' })
  t.match((await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)).body, {
    code: 'ERR_SESSION_ENDED',
  })
  t.match((await instance.call(operator, 'POST', `/v1/sessions/${session.id}/data-plane-token`)).body, {
    code: 'ERR_SESSION_ENDED',
  })
  const events = (await stand.audit(organizationId)).filter(event => event.session_id === session.id)
  t.equal(events.filter(event => event.event === 'session_terminated').length, 1)
})

t.test('a fresh data-plane token is for the same attachment and the same key', async t => {
  const { session, attachment, data_plane } = await start()
  const fresh = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/data-plane-token`, { body: {} })
  t.equal(fresh.status, 200)
  const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
  const before = claimsOf(data_plane.token)
  const after = claimsOf(fresh.body.data_plane.token)
  t.equal(after.attachment_id, attachment.id)
  t.same(after.cnf, before.cnf)
  t.not(after.jti, before.jti)
  t.ok(after.exp - after.iat <= 60)
})

t.test('a detached session has no data-plane token to give', async t => {
  const { session } = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  const { status, body } = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/data-plane-token`)
  t.equal(status, 409)
  t.equal(body.code, 'ERR_SESSION_NOT_READY')
})

t.test('nobody attaches to the session of somebody else, whatever the role', async t => {
  const owner = await stand.user({ organizationId, role: 'owner' })
  const colleague = await stand.user({ organizationId, role: 'operator' })
  const { session } = await start()
  t.equal((await attach(session.id, true, owner)).status, 403)
  t.equal((await attach(session.id, true, colleague)).status, 404, 'operators do not even see it')
  t.equal((await instance.call(owner, 'POST', `/v1/sessions/${session.id}/data-plane-token`)).status, 403)
  t.equal(
    (await instance.call(owner, 'POST', `/v1/sessions/${session.id}/terminate`)).status,
    200,
    'but owners can end it',
  )
})

t.test('a worker that closes an attachment leaves its session detached, and says so once', async t => {
  const { session, attachment } = await start()
  const report = { state: 'closed', reason: 'ERR_RELAY_TARGET_CLOSED', stats: { to_client_bytes: 1234, 'x y': 1 } }
  t.equal((await worker.report(attachment.id, report)).status, 200)
  t.equal((await worker.report(attachment.id, report)).status, 200, 'a repeated report is welcome')
  t.match(await read(session.id), { state: 'detached', end_reason: 'ERR_RELAY_TARGET_CLOSED' })
  const events = (await stand.audit(organizationId)).filter(event => event.session_id === session.id)
  t.match(events.slice(1), [
    { event: 'session_detached', code: 'ERR_RELAY_TARGET_CLOSED', details: { to_client_bytes: 1234 } },
  ])
})

t.test('a worker that closes over a limit ends the session or leaves it detached, as the limit says', async t => {
  const eventsOf = async (id: string) => (await stand.audit(organizationId)).filter(event => event.session_id === id)
  const idle = await start()
  const stats = { to_client_bytes: 7 }
  await worker.report(idle.attachment.id, { state: 'closed', reason: 'ERR_SESSION_IDLE_LIMIT', stats })
  t.match(await read(idle.session.id), {
    state: 'detached',
    attachment: { state: 'closed', reason: 'ERR_SESSION_IDLE_LIMIT' },
  })
  t.match((await eventsOf(idle.session.id)).slice(1), [
    { event: 'session_detached', code: 'ERR_SESSION_IDLE_LIMIT', details: { to_client_bytes: 7 } },
    { event: 'session_limit_reached', code: 'ERR_SESSION_IDLE_LIMIT', details: { limit: 'idle_seconds' } },
  ])
  const long = await start()
  await stand.sql`update rap.remote_sessions set ends_at = now() where id = ${long.session.id}`
  const report = { state: 'closed', reason: 'ERR_SESSION_TIME_LIMIT', stats }
  t.equal((await worker.report(long.attachment.id, report)).status, 200)
  t.equal((await worker.report(long.attachment.id, report)).status, 200, 'a repeated report is welcome')
  t.match(await read(long.session.id), { state: 'terminated', end_reason: 'ERR_SESSION_TIME_LIMIT' })
  t.match((await eventsOf(long.session.id)).slice(1), [
    { event: 'session_terminated', code: 'ERR_SESSION_TIME_LIMIT', details: { to_client_bytes: 7 } },
    { event: 'session_limit_reached', actor_kind: 'worker', details: { limit: 'session_seconds' } },
  ])
})

t.test(
  'a worker ends no session over a time limit that it does not have, nor with an attachment of before',
  async t => {
    const report = { state: 'closed', reason: 'ERR_SESSION_TIME_LIMIT' }
    const free = await start()
    t.equal((await worker.report(free.attachment.id, report)).status, 200)
    t.match(await read(free.session.id), { state: 'detached', end_reason: 'ERR_SESSION_DETACHED' })
    const early = await start()
    await stand.sql`update rap.remote_sessions set ends_at = now() + interval '1 minute' where id = ${early.session.id}`
    t.equal((await worker.report(early.attachment.id, report)).status, 200)
    t.match(await read(early.session.id), { state: 'detached' }, 'a worker whose clock is ahead ends nothing')
    const reached = (await stand.audit(organizationId)).filter(
      ({ event, session_id: id }) =>
        event === 'session_limit_reached' && [free.session.id, early.session.id].includes(String(id)),
    )
    t.same(reached, [], 'and the audit tells of no limit')
    const taken = await start()
    await attach(taken.session.id, true)
    await stand.sql`update rap.remote_sessions set ends_at = now() + interval '1 hour' where id = ${taken.session.id}`
    t.equal((await worker.report(taken.attachment.id, report)).body.code, 'ERR_ATTACHMENT_STATE')
    t.equal((await read(taken.session.id)).state, 'ready')
  },
)

t.test('a session whose time has passed reads as it is refused: ended, before and after it is swept', async t => {
  const detached = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${detached.session.id}/detach`)
  const attached = await start()
  await worker.bind(attached.data_plane.token)
  for (const { session } of [detached, attached]) {
    await stand.sql`update rap.remote_sessions set ends_at = now() - interval '1 second' where id = ${session.id}`
    const over = { state: 'terminated', end_reason: 'ERR_SESSION_TIME_LIMIT', ended_at: String }
    const seen = await read(session.id)
    t.match(seen, { ...over, attachment: { state: 'closed', closed_at: String } })
    t.equal(seen.ended_at, seen.ends_at)
    const listed = async (state: string): Promise<string[]> => {
      const url = `/v1/sessions?organization_id=${organizationId}&state=${state}&limit=100`
      return (await instance.call(operator, 'GET', url)).body.items.map(({ id }: { id: string }) => id)
    }
    t.ok((await listed('terminated')).includes(session.id))
    t.notOk([...(await listed('detached')), ...(await listed('active'))].includes(session.id))
    t.equal((await attach(session.id, true)).body.code, 'ERR_SESSION_ENDED')
    for (const way of ['data-plane-token', 'detach']) {
      const { body } = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/${way}`)
      t.equal(body.code, 'ERR_SESSION_ENDED', way)
    }
    await sweep(instance.controlPlane.context)
    const swept = await read(session.id)
    t.match(swept, { state: 'terminated', end_reason: 'ERR_SESSION_TIME_LIMIT' })
    t.match(swept.attachment, { state: 'closed', reason: seen.attachment.reason })
  }
})

t.test('an attach goes to the worker of before where that is alive, fits and has room', async t => {
  const labels = { pool: 'affinity' }
  const pool = await stand.resource(organizationId, { labels })
  const workers = await Promise.all([1, 2, 3].map(() => instance.worker({ labels, maxSessions: 10 })))
  for (const one of workers) one.start()
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: pool, dpop_jkt: await newJkt() },
  })
  const { session } = body
  const home = workers.find(one => one.id === body.attachment.worker_id)!
  const others = workers.filter(one => one !== home).map(one => one.id)
  const again = async (takeover: boolean) => (await attach(session.id, takeover)).body.attachment.worker_id
  for (let round = 0; round < 5; round++) {
    // The others have less to do, and are not chosen all the same.
    await home.heartbeat({}, { sessions: 9 })
    if (round % 2 === 0) await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
    t.equal(await again(round % 2 === 1), home.id, `round ${round}`)
  }
  const leave = () => instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  await leave()
  await home.heartbeat({}, { sessions: 10 })
  const next = await again(false)
  t.ok(others.includes(next), 'full')
  await leave()
  await home.heartbeat()
  await workers.find(one => one.id === next)!.disappear()
  t.not(await again(false), next, 'gone')
  for (const one of workers) await one.disappear()
})

t.test('a worker that loses an active attachment makes the session fail', async t => {
  const { session, attachment, data_plane } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  await worker.report(attachment.id, {
    state: 'failed',
    failure: { code: 'ERR_RELAY_TARGET_PROTOCOL', title: 'The target sent something that is not allowed' },
  })
  t.match(await read(session.id), { state: 'failed', failure: { code: 'ERR_RELAY_TARGET_PROTOCOL' } })
})

t.test('a worker reports on its own attachments only, and sees no others', async t => {
  const { attachment } = await start()
  const other = await instance.worker()
  await other.disappear()
  t.equal((await other.report(attachment.id, { state: 'closed' })).status, 404)
  t.equal((await instance.internal(other.peer, 'GET', `/internal/v1/attachments/${attachment.id}`)).status, 404)
  const ids = { attachment_ids: [attachment.id] }
  const foreign = await instance.internal(other.peer, 'POST', '/internal/v1/workers/self/attachments', { body: ids })
  t.match(foreign.body.attachments, [{ attachment_id: attachment.id, state: 'unknown', session_id: null }])
  const own = await instance.internal(worker.peer, 'POST', '/internal/v1/workers/self/attachments', { body: ids })
  t.match(own.body.attachments, [{ attachment_id: attachment.id, state: 'ready' }])
})

t.test('a failure that a worker reports is bounded', async t => {
  const { attachment } = await start()
  const failures = [
    undefined,
    { code: 'lower_case', title: 'x' },
    { code: 'ERR_X', title: 'x'.repeat(201) },
    { code: 'ERR_X', title: 'x', detail: 'x'.repeat(1001) },
    { code: 'ERR_X', title: 'x', stack: 'y' },
  ]
  for (const failure of failures) {
    const { status } = await worker.report(attachment.id, { state: 'failed', ...(failure && { failure }) })
    t.equal(status, 400)
  }
})

t.test('lists are newest first, page by page; operators see their own and auditors everybody', async t => {
  const other = await stand.organization()
  const resource = await stand.resource(other)
  const [first, second, auditor] = await Promise.all([
    stand.user({ organizationId: other, role: 'operator' }),
    stand.user({ organizationId: other, role: 'operator' }),
    stand.user({ organizationId: other, role: 'auditor' }),
  ])
  const made: string[] = []
  for (const user of [first, second, first, second, first]) {
    const { body } = await instance.call(user, 'POST', '/v1/sessions', {
      body: { resource_id: resource, dpop_jkt: await newJkt() },
    })
    made.unshift(body.session.id)
  }
  const seen: string[] = []
  let url = '/v1/sessions?limit=2'
  for (;;) {
    const { body } = await instance.call(auditor, 'GET', url)
    seen.push(...body.items.map((item: { id: string }) => item.id))
    if (body.next_cursor === null) break
    url = `/v1/sessions?limit=2&cursor=${body.next_cursor}`
  }
  t.same(seen, made)
  const own = await instance.call(first, 'GET', '/v1/sessions')
  t.same(
    own.body.items.map((item: { id: string }) => item.id),
    [made[0], made[2], made[4]],
  )
  const none = await instance.call(auditor, 'GET', '/v1/sessions?state=failed')
  t.same(none.body, { items: [], next_cursor: null })
  t.equal((await instance.call(auditor, 'GET', '/v1/sessions?cursor=AAAA')).body.code, 'ERR_LIST_CURSOR_INVALID')
  t.equal((await instance.call(auditor, 'GET', '/v1/sessions?limit=201')).status, 400)
})

t.test('a member who leaves, or may not use sessions any more, loses them at once', async t => {
  const admin = await stand.user({ organizationId, role: 'admin' })
  const leaver = await stand.user({ organizationId, role: 'operator' })
  const { session, attachment, data_plane } = await start(leaver)
  const messages = await messagesDuring(async () => {
    const url = `/v1/organizations/${organizationId}/members/${leaver.id}`
    t.equal((await instance.call(admin, 'PATCH', url, { body: { role: 'auditor' } })).status, 200)
  })
  t.match(messages, [{ attachment_id: attachment.id, reason: 'ERR_SESSION_TERMINATED' }])
  t.equal((await read(session.id, leaver)).state, 'terminated')
  t.match((await worker.bind(data_plane.token)).body, { code: 'ERR_BIND_WRONG_USER' })
})

t.test('a resource that is deleted ends its sessions', async t => {
  const admin = await stand.user({ organizationId, role: 'admin' })
  const resource = await stand.resource(organizationId)
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resource, dpop_jkt: await newJkt() },
  })
  t.equal((await instance.call(admin, 'DELETE', `/v1/resources/${resource}`)).status, 204)
  t.equal((await read(body.session.id)).state, 'terminated')
  t.match((await worker.bind(body.data_plane.token)).body, { code: 'ERR_BIND_SESSION_ENDED' })
})
