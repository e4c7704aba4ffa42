import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connectPostgres } from '@rap/service-kit'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { newJkt, startStand, type TestUser } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
await instance.controlPlane.publicApp.listen({ host: '127.0.0.1', port: 0 })
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

/** An event stream, as its parsed events. */
function follow(sessionId: string, user: TestUser = operator, on = instance) {
  const { port } = on.controlPlane.publicApp.server.address() as AddressInfo
  const events: { session: { state: string }; attachment: { state: string } }[] = []
  let answer: IncomingMessage | undefined
  let isOver = false
  let text = ''
  const outgoing = httpRequest(
    { port, path: `/v1/sessions/${sessionId}/events`, headers: { authorization: `Bearer ${user.token}` } },
    incoming => {
      answer = incoming
      incoming.setEncoding('utf8')
      incoming.on('data', chunk => {
        text += chunk
        const blocks = text.split('\n\n')
        text = blocks.pop() ?? ''
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block)?.[1]
          if (data !== undefined) events.push(JSON.parse(data))
        }
      })
      incoming.on('close', () => {
        isOver = true
      })
    },
  )
  outgoing.on('error', () => {
    isOver = true
  })
  outgoing.end()
  return {
    events,
    states: () => events.map(event => event.session.state),
    status: () => answer?.statusCode,
    contentType: () => answer?.headers['content-type'],
    isOver: () => isOver,
    close: () => outgoing.destroy(),
  }
}

t.test('a stream begins with the state there is, follows every change and ends with the session', async t => {
  const { session, data_plane } = await start()
  const stream = follow(session.id)
  await waitFor(() => stream.events.length === 1, { what: 'the first event' })
  t.equal(stream.status(), 200)
  t.match(stream.contentType(), 'text/event-stream')
  await worker.bind(data_plane.token)
  await waitFor(() => stream.states().includes('active'), { what: 'active' })
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  await waitFor(() => stream.states().includes('detached'), { what: 'detached' })
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/terminate`)
  await waitFor(() => stream.isOver(), { what: 'the end of the stream' })
  t.same(stream.states(), ['ready', 'active', 'detached', 'terminated'])
  t.notMatch(JSON.stringify(stream.events), data_plane.token)
})

t.test('a change that another instance makes arrives as well', async t => {
  const second = await stand.build()
  const { session } = await start()
  const stream = follow(session.id)
  await waitFor(() => stream.events.length === 1, { what: 'the first event' })
  await second.call(operator, 'POST', `/v1/sessions/${session.id}/terminate`)
  t.ok(await waitFor(() => stream.states().includes('terminated'), { what: 'terminated' }))
})

t.test('a stream that nobody may read is refused before it begins', async t => {
  const { session } = await start()
  const stranger = await stand.user({ organizationId: await stand.organization(), role: 'owner' })
  t.equal((await instance.call(stranger, 'GET', `/v1/sessions/${session.id}/events`)).status, 404)
  t.equal((await instance.call(undefined, 'GET', `/v1/sessions/${session.id}/events`)).status, 401)
})

t.test('a stream ends when its reader is no member any more', async t => {
  const auditor = await stand.user({ organizationId, role: 'auditor' })
  const { session } = await start()
  const stream = follow(session.id, auditor)
  await waitFor(() => stream.events.length === 1, { what: 'the first event' })
  await stand.sql`delete from rap.memberships where user_id = ${auditor.id}`
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  await waitFor(() => stream.isOver(), { what: 'the end of the stream' })
  t.same(stream.states(), ['ready'])
})

t.test('a stream ends with the access token that opened it', async t => {
  const { session } = await start()
  /** A stream that was opened with a token that lives so long; undefined where that was over before. */
  const opened = async (milliseconds: number) => {
    const user = { ...operator, token: await stand.token(operator.id) }
    await stand.sql`alter table rap.access_tokens disable trigger access_tokens_written_once`
    await stand.sql`
      update rap.access_tokens set expires_at = now() + make_interval(secs => ${milliseconds / 1000})
      where created_at = (select max(created_at) from rap.access_tokens)`
    await stand.sql`alter table rap.access_tokens enable trigger access_tokens_written_once`
    const stream = follow(session.id, user)
    await waitFor(() => stream.events.length === 1 || stream.isOver(), { what: 'the first event' })
    return stream.events.length === 1 ? stream : undefined
  }
  const stream = (await opened(1500)) ?? (await opened(15_000))
  t.equal(stream?.status(), 200)
  t.ok(await waitFor(() => stream?.isOver(), { what: 'the end of the stream' }))
})

t.test('one user has a bounded number of streams, and a closed one makes room', async t => {
  const user = await stand.user({ organizationId, role: 'operator' })
  const { session } = await start(user)
  const streams = Array.from({ length: 20 }, () => follow(session.id, user))
  await waitFor(() => streams.every(stream => stream.events.length === 1), { what: 'twenty streams' })
  const url = `/v1/sessions/${session.id}/events`
  t.equal((await instance.call(user, 'GET', url)).body.code, 'ERR_SESSION_EVENTS_LIMIT')
  streams[0]!.close()
  let another: ReturnType<typeof follow> | undefined
  await waitFor(
    async () => {
      another?.close()
      another = follow(session.id, user)
      const current = another
      await waitFor(() => current.status() !== undefined, { what: 'an answer' })
      return current.status() === 200
    },
    { what: 'room for another stream' },
  )
  another?.close()
  for (const stream of streams) stream.close()
})

t.test('a listening connection that is lost is made again, and nothing is missed', async t => {
  const { session, data_plane } = await start()
  const stream = follow(session.id)
  await waitFor(() => stream.events.length === 1, { what: 'the first event' })
  const superuser = connectPostgres(stand.superuserUrl, { max: 1, applicationName: 'test' })
  t.teardown(() => superuser.end())
  const cut = await superuser`
    select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%' and pid <> pg_backend_pid()`
  t.ok(cut.length > 0)
  await worker.bind(data_plane.token)
  t.ok(await waitFor(() => stream.states().includes('active'), { what: 'active' }))
  t.equal((await start()).session.id.length, 36, 'and a start is told as well')
  stream.close()
})

t.test('a service that drains ends its streams and lets a start come to its end', async t => {
  const draining = await stand.build()
  await draining.controlPlane.publicApp.listen({ host: '127.0.0.1', port: 0 })
  const { session } = await start()
  const stream = follow(session.id, operator, draining)
  await waitFor(() => stream.events.length === 1, { what: 'the first event' })
  worker.reaction = 'silent'
  const before = worker.assignments.length
  const { port } = draining.controlPlane.publicApp.server.address() as AddressInfo
  const begun = fetch(`http://127.0.0.1:${port}/v1/sessions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${operator.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ resource_id: resourceId, dpop_jkt: await newJkt() }),
  })
  await waitFor(() => worker.assignments.length > before, { what: 'the assignment' })
  const began = performance.now()
  const stopped = draining.stop()
  await waitFor(() => stream.isOver(), { what: 'the end of the stream' })
  worker.reaction = 'ready'
  await worker.report(worker.assignments.at(-1)!.attachment_id, { state: 'ready' })
  t.equal((await begun).status, 201)
  await stopped
  // One that is kept alive would hold it for a minute.
  t.ok(performance.now() - began < 30_000, 'and no idle connection holds it up')
})
