import { randomBytes, randomUUID } from 'node:crypto'
import { CHANNELS, DEFAULT_LIMITS } from '@rap/session-policy'
import t from 'tap'
import { startStand } from '../helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const worker = await instance.worker()
const resources = await Promise.all(Array.from({ length: 10 }, () => stand.resource(organizationId)))
const people = await Promise.all(Array.from({ length: 10 }, () => stand.user({ organizationId, role: 'operator' })))

/** Sessions as they are while people work in them, without the minutes that it takes to start so many. */
async function insertLive(count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, n) => ({
    id: randomUUID(),
    resource_id: resources[n % 10]?.toString(),
    user_id: people[Math.floor(n / 10) % 10]?.id,
    dpop_jkt: randomBytes(32).toString('base64url'),
  }))
  await stand.sql.begin(async sql => {
    await sql`
      insert into rap.remote_sessions (id, organization_id, resource_id, user_id, metadata)
      select id, ${organizationId}, resource_id, user_id, '{"secret_ref": null}'
      from jsonb_to_recordset(${sql.json(rows)}) as w (id uuid, resource_id uuid, user_id uuid)`
    await sql`
      insert into rap.session_attachments (organization_id, session_id, ordinal, worker_id, lease_id, dpop_jkt,
        allowed_channels, limits)
      select ${organizationId}, id, 1, ${worker.id}, gen_random_uuid(), dpop_jkt, ${[...CHANNELS]}::text[], ${sql.json(DEFAULT_LIMITS)}
      from jsonb_to_recordset(${sql.json(rows)}) as w (id uuid, dpop_jkt text)`
    for (const state of ['ready', 'active']) {
      await sql`update rap.session_attachments set state = ${state} where state = ${state === 'ready' ? 'assigning' : 'ready'}`
      await sql`update rap.remote_sessions set state = ${state} where state = ${state === 'ready' ? 'assigning' : 'ready'}`
    }
  })
}

/** About two seconds, where a machine is not slow. */
async function tenThousandQuestionsMs(): Promise<number> {
  const beganAtMs = performance.now()
  for (let asked = 0; asked < 1000; asked++) await stand.sql`select 1`
  return 10 * (performance.now() - beganAtMs)
}

async function endAll(): Promise<void> {
  await stand.sql`
    update rap.session_attachments set state = 'closed', closed_at = now() where state in ('assigning', 'ready', 'active')`
  await stand.sql`
    update rap.remote_sessions set state = 'terminated', ended_at = now() where state not in ('terminated', 'failed')`
}

t.test(
  'a policy of an organization with 300 live sessions is in force within two seconds, on every one of them',
  async t => {
    const url = `/v1/organizations/${organizationId}/policy`
    const document = { channels: ['display', 'input'], limits: { session_seconds: 3600 } }
    const took: number[] = []
    // What else the machine does makes a round longer: one of some is within the time.
    let isQuick = false
    while (!isQuick && took.length < 5) {
      await endAll()
      await instance.call(admin, 'PUT', url, { body: { document: { channels: CHANNELS } } })
      await insertLive(300)
      const beganAtMs = performance.now()
      const { body } = await instance.call(admin, 'PUT', url, { body: { document } })
      const ms = Math.round(performance.now() - beganAtMs)
      took.push(ms)
      t.equal(body.sessions_changed, 300)
      isQuick = ms < 2000 || ms < (await tenThousandQuestionsMs())
    }
    t.ok(isQuick, `took ${took} ms`)
    const rows = await stand.sql`
    select distinct a.allowed_channels, a.limits ->> 'session_seconds' as seconds, s.ends_at - s.created_at as length
    from rap.session_attachments a join rap.remote_sessions s on s.id = a.session_id where s.state = 'active'`
    t.match([...rows], [{ allowed_channels: ['display', 'input'], seconds: '3600', length: '01:00:00' }])
    t.equal(rows.length, 1)
    const events = (await stand.audit(organizationId)).filter(({ event }) => event === 'session_policy_changed')
    t.equal(new Set(events.map(event => event.attachment_id)).size, 300 * took.length, 'each is in the audit by itself')
  },
)
