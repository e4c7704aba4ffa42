import t from 'tap'
import { sweep } from '../src/sessions/reaper.ts'
import { newJkt, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const ctx = instance.controlPlane.context
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()

async function start() {
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  return body as { session: { id: string }; attachment: { id: string }; data_plane: { token: string } }
}

async function stateOf(sessionId: string): Promise<string> {
  return (await instance.call(operator, 'GET', `/v1/sessions/${sessionId}`)).body.state
}

async function leaseOf(attachmentId: string): Promise<string> {
  const [row] = await stand.sql`select lease_id from rap.session_attachments where id = ${attachmentId}`
  return `rap:lease:${row!.lease_id}`
}

t.test('a session whose lease is missing in two sweeps has failed', async t => {
  const { session, attachment, data_plane } = await start()
  await worker.bind(data_plane.token)
  await stand.redis.del(await leaseOf(attachment.id))
  await sweep(ctx, { leaseGraceMs: 0 })
  t.equal(await stateOf(session.id), 'active', 'one sweep is not enough')
  await sweep(ctx, { leaseGraceMs: 0 })
  t.equal(await stateOf(session.id), 'failed')
  const [event] = (await stand.audit(organizationId)).slice(-1)
  t.match(event, {
    event: 'session_failed',
    code: 'ERR_SESSION_LEASE_LOST',
    session_id: session.id,
    actor_kind: 'service',
  })
  const seen = await instance.internal(worker.peer, 'GET', `/internal/v1/attachments/${attachment.id}`)
  t.match(seen.body, { state: 'failed', reason: 'ERR_SESSION_LEASE_LOST' })
})

t.test('two sweeps in quick succession do not outrun a worker that renews every ten seconds', async t => {
  const { session, attachment } = await start()
  const lease = await leaseOf(attachment.id)
  const value = (await stand.redis.get(lease))!
  await stand.redis.flushall()
  for (let index = 0; index < 3; index++) await sweep(ctx)
  t.equal(await stateOf(session.id), 'ready')
  // The worker asserts it again, and the count begins anew.
  await stand.redis.set(lease, value)
  await sweep(ctx)
  const [row] = await stand.sql`
    select lease_missed_sweeps, lease_missing_since from rap.session_attachments where id = ${attachment.id}`
  t.match(row, { lease_missed_sweeps: 0, lease_missing_since: null })
  await worker.heartbeat()
})

t.test('a lease that names something else is no lease', async t => {
  const { session, attachment } = await start()
  const lease = await leaseOf(attachment.id)
  const right = JSON.parse((await stand.redis.get(lease))!)
  for (const wrong of [{ ...right, worker_id: resourceId }, { ...right, attachment_id: resourceId }, 'x', null]) {
    await stand.redis.set(lease, JSON.stringify(wrong))
    await sweep(ctx, { leaseGraceMs: 60_000 })
    const [row] = await stand.sql`select lease_missed_sweeps from rap.session_attachments where id = ${attachment.id}`
    t.ok(row!.lease_missed_sweeps > 0)
  }
  await stand.redis.del(lease)
  await stand.redis.lpush(lease, 'x')
  await sweep(ctx, { leaseGraceMs: 0 })
  t.equal(await stateOf(session.id), 'failed')
})

t.test('a Redis that does not answer fails no session', async t => {
  const { session } = await start()
  await stand.redisServer.stop()
  await sweep(ctx, { leaseGraceMs: 0 })
  await sweep(ctx, { leaseGraceMs: 0 })
  t.equal(await stateOf(session.id), 'ready')
  await stand.redisServer.restart()
  await worker.heartbeat()
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/terminate`)
})

t.test('of two instances one sweeps', async t => {
  const second = await stand.build()
  const results = await Promise.all([sweep(ctx), sweep(second.controlPlane.context), sweep(ctx)])
  t.ok(results.includes(true))
  t.equal(await sweep(ctx), true, 'the lock is given back')
})

t.test('a start that nobody waits for any more fails', async t => {
  const { session } = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  worker.reaction = 'silent'
  const begun = instance.call(operator, 'POST', `/v1/sessions/${session.id}/attachments`, {
    body: { dpop_jkt: await newJkt() },
  })
  const impatient = { ...ctx, config: { ...ctx.config, SESSION_READY_TIMEOUT_SECONDS: -15 } }
  for (;;) {
    await sweep(impatient)
    if ((await stateOf(session.id)) === 'detached') {
      const [row] = await stand.sql`
        select state, failure from rap.session_attachments where session_id = ${session.id} order by ordinal desc limit 1`
      if (row!.state === 'failed') {
        t.match(row, { failure: { code: 'ERR_SESSION_START_TIMEOUT' } })
        break
      }
    }
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  t.equal((await begun).status, 504, 'whoever waits is told at once')
  worker.reaction = 'ready'
})

t.test('a detached session is ended after its limit', async t => {
  const { session } = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${session.id}/detach`)
  await sweep(ctx)
  t.equal(await stateOf(session.id), 'detached')
  await sweep({ ...ctx, config: { ...ctx.config, SESSION_DETACHED_LIMIT_HOURS: 0 } })
  t.equal(await stateOf(session.id), 'terminated')
})

t.test('a session past its time is ended, whether anybody is attached or not', async t => {
  const attached = await start()
  await worker.bind(attached.data_plane.token)
  const detached = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${detached.session.id}/detach`)
  const young = await start()
  await stand.sql`
    update rap.remote_sessions set ends_at = now() - interval '1 second'
    where id = any(${[attached.session.id, detached.session.id]})`
  await stand.sql`update rap.remote_sessions set ends_at = now() + interval '1 hour' where id = ${young.session.id}`
  await sweep(ctx)
  for (const { session } of [attached, detached]) {
    const { body } = await instance.call(operator, 'GET', `/v1/sessions/${session.id}`)
    t.match(body, { state: 'terminated', end_reason: 'ERR_SESSION_TIME_LIMIT' })
    const events = (await stand.audit(organizationId)).filter(event => event.session_id === session.id).slice(-2)
    t.match(events, [
      { event: 'session_terminated', code: 'ERR_SESSION_TIME_LIMIT', actor_kind: 'service' },
      { event: 'session_limit_reached', code: 'ERR_SESSION_TIME_LIMIT', details: { limit: 'session_seconds' } },
    ])
  }
  const seen = await instance.internal(worker.peer, 'GET', `/internal/v1/attachments/${attached.attachment.id}`)
  t.match(seen.body, { state: 'closed', reason: 'ERR_SESSION_TIME_LIMIT' })
  t.equal(await stateOf(young.session.id), 'ready')
  const late = await worker.report(attached.attachment.id, { state: 'closed', reason: 'ERR_SESSION_TIME_LIMIT' })
  t.equal(late.status, 200, 'a worker that ends it in the same moment is welcome')
})

t.test('what has expired is removed, and a token is remembered longer than it is valid', async t => {
  const { attachment, data_plane } = await start()
  await worker.bind(data_plane.token)
  await stand.sql`
    insert into rap.data_plane_token_jtis (jti, attachment_id, proof_jti, exp)
    values ('an-old-token-id-1', ${attachment.id}, 'p', now() - interval '1 hour'),
      ('a-token-of-just-now', ${attachment.id}, 'p', now() - interval '1 minute')`
  await sweep(ctx)
  const rows = await stand.sql`select jti from rap.data_plane_token_jtis where attachment_id = ${attachment.id}`
  t.equal(rows.length, 2)
  t.notOk(rows.some(row => row.jti === 'an-old-token-id-1'))
})
