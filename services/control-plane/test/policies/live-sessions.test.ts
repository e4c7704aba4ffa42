import { CHANNELS, type Channel, DEFAULT_LIMITS, RDP_CHANNELS } from '@rap/session-policy'
import fc from 'fast-check'
import t from 'tap'
import { newJkt, startStand } from '../helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()

const urls = {
  organization: `/v1/organizations/${organizationId}/policy`,
  resource: `/v1/resources/${resourceId}/policy`,
  grant: `/v1/resources/${resourceId}/grants/${operator.id}`,
} as const
type Scope = keyof typeof urls

async function put(scope: Scope, document: unknown) {
  return await instance.call(admin, 'PUT', urls[scope], { body: { document } })
}

async function remove(scope: Scope) {
  return await instance.call(admin, 'DELETE', urls[scope])
}

/** No policy but one of the organization that allows every channel; no session. */
async function reset() {
  await stand.sql`
    update rap.session_attachments set state = 'closed', closed_at = now() where state in ('assigning', 'ready', 'active')`
  await stand.sql`
    update rap.remote_sessions set state = 'terminated', ended_at = now() where state not in ('terminated', 'failed')`
  await remove('grant')
  await remove('resource')
  await put('organization', { channels: CHANNELS })
}

async function start(user = operator, resource = resourceId) {
  const { body } = await instance.call(user, 'POST', '/v1/sessions', {
    body: { resource_id: resource, dpop_jkt: await newJkt() },
  })
  return body as { session: { id: string }; attachment: { id: string }; data_plane: { token: string } }
}

async function read(sessionId: string) {
  return (await instance.call(operator, 'GET', `/v1/sessions/${sessionId}`)).body
}

/** What the worker is told when it asks. */
async function polled(attachmentId: string, sessionIds?: string[]) {
  const { body } = await instance.internal(worker.peer, 'POST', '/internal/v1/workers/self/attachments', {
    body: { attachment_ids: [attachmentId], ...(sessionIds && { session_ids: sessionIds }) },
  })
  return sessionIds === undefined ? body.attachments[0] : body
}

async function hintsDuring(act: () => Promise<unknown>): Promise<unknown[]> {
  const subscriber = stand.redis.duplicate()
  const messages: unknown[] = []
  subscriber.on('message', (_channel, message) => messages.push(JSON.parse(message)))
  await subscriber.subscribe(`rap:worker:${worker.id}:control`)
  await act()
  await subscriber.unsubscribe()
  subscriber.disconnect()
  return messages
}

t.beforeEach(reset)

t.test(
  'a channel that any scope takes away leaves a live attachment at once, and its worker and the audit are told',
  async t => {
    for (const scope of ['organization', 'resource', 'grant'] as const) {
      for (const channel of CHANNELS) {
        const { session, attachment } = await start()
        const left = CHANNELS.filter(name => name !== channel)
        let answer: { body: { sessions_changed?: number } } = { body: {} }
        const hints = await hintsDuring(async () => {
          answer = await put(scope, { channels: left })
        })
        t.equal(answer.body.sessions_changed, 1)
        t.same(hints, [{ type: 'policy', attachment_id: attachment.id }])
        t.same((await polled(attachment.id)).allowed_channels, left, `${scope} without ${channel}`)
        t.same((await read(session.id)).attachment.allowed_channels, left)
        t.match((await stand.audit(organizationId)).slice(-2), [
          { event: 'policy_changed', details: { scope, sessions_changed: 1 } },
          {
            event: 'session_policy_changed',
            actor_id: admin.id,
            session_id: session.id,
            attachment_id: attachment.id,
            user_id: operator.id,
            worker_id: worker.id,
            details: { channels_removed: channel, channels: left.join(','), limits_changed: '' },
          },
        ])
        await reset()
      }
    }
  },
)

t.test('a channel that is given back counts from the next attachment on', async t => {
  const { session, attachment } = await start()
  const narrow: Channel[] = ['display', 'events']
  await put('organization', { channels: narrow })
  t.match((await put('organization', { channels: CHANNELS })).body, { sessions_changed: 0 })
  t.same((await polled(attachment.id)).allowed_channels, narrow)
  const attach = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/attachments`, {
    body: { dpop_jkt: await newJkt(), takeover: true },
  })
  t.same(attach.body.attachment.allowed_channels, CHANNELS)
})

t.test('deleting a policy narrows as writing one does', async t => {
  const { attachment } = await start()
  t.match((await remove('organization')).body, { sessions_changed: 1 })
  t.same((await polled(attachment.id)).allowed_channels, ['display', 'input', 'events'])
})

t.test('limits follow in both directions, and so does the end of a session, a detached one included', async t => {
  const { session, attachment } = await start()
  const away = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${away.session.id}/detach`)
  const clockOf = async () =>
    (await stand.sql`select updated_at from rap.remote_sessions where id = ${away.session.id}`)[0]!.updated_at
  const clock = await clockOf()
  for (const seconds of [3600, 120, 7200]) {
    t.match((await put('resource', { limits: { session_seconds: seconds, clipboard_bytes: seconds } })).body, {
      sessions_changed: 2,
    })
    const seen = await polled(attachment.id)
    t.same(seen.limits, { ...DEFAULT_LIMITS, session_seconds: seconds, clipboard_bytes: seconds })
    for (const id of [session.id, away.session.id]) {
      const { created_at, ends_at } = await read(id)
      t.equal(Date.parse(ends_at) - Date.parse(created_at), seconds * 1000)
    }
    t.equal(seen.session_ends_at, (await read(session.id)).ends_at)
    t.ok(
      Math.abs(seen.session_seconds_left - (Date.parse(seen.session_ends_at) - Date.now()) / 1000) < 30,
      'what is left',
    )
    t.match((await stand.audit(organizationId)).at(-1), {
      event: 'session_policy_changed',
      details: { channels_removed: '', limits_changed: 'session_seconds,clipboard_bytes' },
    })
  }
  await remove('resource')
  t.equal((await read(session.id)).ends_at, null)
  t.same((await polled(attachment.id)).limits, DEFAULT_LIMITS)
  t.same(await clockOf(), clock, 'a detached session waits no longer for it')
})

t.test('neither an attach nor a takeover moves the end of a session; only a new session counts anew', async t => {
  await put('resource', { limits: { session_seconds: 3600 } })
  const { session } = await start()
  const { ends_at: end } = await read(session.id)
  for (const takeover of [true, true, false]) {
    if (!takeover) await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
    const { body } = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/attachments`, {
      body: { dpop_jkt: await newJkt(), takeover },
    })
    t.equal(body.session.ends_at, end)
    t.equal((await polled(body.attachment.id)).session_ends_at, end)
  }
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/terminate`)
  const next = await read((await start()).session.id)
  t.ok(Date.parse(next.ends_at) > Date.parse(end))
  await remove('resource')
})

t.test('a policy reaches the sessions of its own place alone', async t => {
  const colleague = await stand.user({ organizationId, role: 'operator' })
  const elsewhere = await stand.resource(organizationId)
  const foreign = await stand.organization()
  const foreigner = await stand.user({ organizationId: foreign, role: 'operator' })
  const sessions = {
    mine: await start(),
    there: await start(operator, elsewhere),
    theirs: await start(colleague),
    foreign: await start(foreigner, await stand.resource(foreign)),
  }
  const withInput = async () => {
    const found: string[] = []
    for (const [name, { attachment }] of Object.entries(sessions)) {
      if ((await polled(attachment.id)).allowed_channels.includes('input')) found.push(name)
    }
    return found
  }
  t.match((await put('grant', { channels: ['display'] })).body, { sessions_changed: 1 })
  t.same(await withInput(), ['there', 'theirs', 'foreign'])
  await put('resource', { channels: ['display'] })
  t.same(await withInput(), ['there', 'foreign'])
  await put('organization', { channels: ['display'] })
  t.same(await withInput(), ['foreign'])
})

t.test('a token from before a narrowing binds nothing, and a fresh one binds what is left', async t => {
  const { session, attachment, data_plane } = await start()
  await put('organization', { channels: ['display', 'file_upload'] })
  for (const requested_channels of [['display'], ['input'], ['file_upload']]) {
    const { body } = await worker.bind(data_plane.token, { requested_channels })
    t.equal(body.code, 'ERR_BIND_CHANNELS_NOT_ALLOWED', requested_channels.join())
  }
  const fresh = await instance.call(operator, 'POST', `/v1/sessions/${session.id}/data-plane-token`)
  const bound = await worker.bind(fresh.body.data_plane.token, { requested_channels: ['display', 'file_upload'] })
  t.match(bound.body, { attachment_id: attachment.id, allowed_channels: ['display', 'file_upload'] })
})

t.test('a channel that was bound is taken from the connection that has it', async t => {
  const { attachment, data_plane } = await start()
  t.equal((await worker.bind(data_plane.token, { requested_channels: [...RDP_CHANNELS] })).status, 200)
  await put('resource', { channels: ['display'] })
  const [row] = await stand.sql`
    select allowed_channels, bound_channels from rap.session_attachments where id = ${attachment.id}`
  t.same(row, { allowed_channels: ['display'], bound_channels: ['display'] })
})

t.test('whoever watches a session is told what it may do', async t => {
  const { session } = await start()
  const notices: string[] = []
  const stop = instance.controlPlane.context.events.on(session.id, () => notices.push('notice'))
  await put('organization', { channels: ['display'] })
  while (notices.length === 0) await new Promise(resolve => setTimeout(resolve, 10))
  stop()
  t.pass('a notice came')
})

t.test('Redis has no say: while it is away the policy is written, and the worker is told when it asks', async t => {
  const { attachment } = await start()
  await stand.redisServer.stop()
  t.equal((await put('organization', { channels: ['display'] })).status, 200)
  t.same((await polled(attachment.id)).allowed_channels, ['display'])
  await stand.redisServer.restart()
  await worker.heartbeat()
})

t.test('a worker learns of its own live sessions alone', async t => {
  const { session, attachment } = await start()
  const ended = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${ended.session.id}/terminate`)
  const detached = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${detached.session.id}/detach`)
  const ids = [session.id, ended.session.id, detached.session.id, resourceId]
  const body = await polled(ended.attachment.id, ids)
  t.same(
    body.sessions.map((one: { live: boolean }) => one.live),
    [true, false, true, false],
  )
  t.match(body.attachments, [
    { state: 'closed', allowed_channels: [], limits: null, session_ends_at: null, session_seconds_left: null },
  ])
  const other = await instance.worker()
  await other.disappear()
  const foreign = await instance.internal(other.peer, 'POST', '/internal/v1/workers/self/attachments', {
    body: { attachment_ids: [attachment.id], session_ids: ids },
  })
  t.match(foreign.body.attachments, [{ state: 'unknown', allowed_channels: [], limits: null }])
  t.ok(foreign.body.sessions.every((one: { live: boolean }) => !one.live))
  const many = Array.from({ length: 1001 }, () => session.id)
  const refused = await instance.internal(worker.peer, 'POST', '/internal/v1/workers/self/attachments', {
    body: { attachment_ids: [], session_ids: many },
  })
  t.equal(refused.status, 400)
})

t.test('PROPERTY: whatever is written in whatever order, the channels of a live attachment only shrink', async t => {
  const channels = fc.option(fc.subarray([...CHANNELS]), { nil: undefined })
  const limits = fc.option(
    fc.record({ session_seconds: fc.option(fc.constantFrom(3600, 7200)) }, { requiredKeys: [] }),
    { nil: undefined },
  )
  const write = fc.record({
    scope: fc.constantFrom('organization', 'resource', 'grant') as fc.Arbitrary<Scope>,
    document: fc.option(fc.record({ channels, limits }, { requiredKeys: [] })),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 6 }), async writes => {
      await reset()
      const { attachment } = await start()
      let before: readonly string[] = CHANNELS
      for (const { scope, document } of writes) {
        const { status } = document === null ? await remove(scope) : await put(scope, document)
        const { allowed_channels: now } = await polled(attachment.id)
        const inForce = (await instance.call(operator, 'GET', `/v1/resources/${resourceId}/effective-policy`)).body
          .channels
        const isWithin = now.every((name: string) => before.includes(name) && inForce[name].allowed)
        if (status !== 200 || !isWithin) return false
        before = now
      }
      return true
    }),
    { numRuns: 25 },
  )
  t.pass('over 25 sequences')
})
