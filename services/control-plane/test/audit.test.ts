import { appendAuditEvent, connectPostgres } from '@rap/service-kit'
import t from 'tap'
import { type ChainedEvent, verifyAuditChain } from '../src/audit/chain.ts'
import { startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const auditor = await stand.user({ organizationId, role: 'auditor' })

async function append(
  details: Record<string, string | number | boolean | null> = {},
  organization: string | null = organizationId,
) {
  await appendAuditEvent(stand.sql, {
    organization_id: organization,
    event: 'resource_created',
    actor: { kind: 'user', id: auditor.id },
    outcome: 'ok',
    details,
  })
}

async function exported(organization = organizationId): Promise<ChainedEvent[]> {
  const { text, headers } = await instance.call(auditor, 'GET', `/v1/audit-events?organization_id=${organization}`, {
    headers: { accept: 'application/x-ndjson' },
  })
  t.match(headers['content-type'], 'application/x-ndjson')
  return text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
}

t.test('an exported chain verifies, whatever characters and numbers are in it', async t => {
  await append({ b: 1, aa: 2, a: 'x' })
  await append({
    text: 'quote " backslash \\ newline \n tab \t bell \u0007 ü 漢 😀 \u2028',
    null_value: null,
    yes: true,
  })
  await append({
    big: 9_007_199_254_740_991,
    negative: -5,
    zero: 0,
    fraction: 0.5,
    tiny: 1e-9,
    huge: 1e21,
    minus_zero: -0,
  })
  await append({ key_with_longer_name: 'x', k: 'y', zz: 'z' })
  const events = await exported()
  t.match(verifyAuditChain(events), { ok: true, count: events.length })
  t.equal(events[0]!.previous_hash, '0'.repeat(64))
  t.match(events.at(-1), { event: 'audit_exported', actor: { kind: 'user', id: auditor.id } })
})

t.test('parallel writers make one chain without forks and holes', async t => {
  await Promise.all(Array.from({ length: 40 }, (_, index) => append({ number: index })))
  const events = await exported()
  t.match(verifyAuditChain(events), { ok: true })
  t.same(
    events.map(event => event.sequence),
    events.map((_, index) => index + 1),
  )
})

t.test('a change of any field, a missing, a doubled and a swapped event are found', async t => {
  const events = await exported()
  const at = 2
  const changes: Partial<Record<keyof ChainedEvent, unknown>> = {
    event: 'something_else',
    occurred_at: '2026-01-01T00:00:00.000000Z',
    actor: { kind: 'user', id: 'somebody else' },
    outcome: 'refused',
    code: 'ERR_X',
    session_id: organizationId,
    attachment_id: organizationId,
    resource_id: organizationId,
    worker_id: organizationId,
    user_id: organizationId,
    secret_ref: 'rap-secret://x',
    request_id: 'x',
    details: { changed: true },
    organization_id: null,
  }
  for (const [field, value] of Object.entries(changes)) {
    const changed = events.map((event, index) =>
      index === at ? ({ ...event, [field]: value } as ChainedEvent) : event,
    )
    t.match(verifyAuditChain(changed), { ok: false, sequence: at + 1, reason: 'changed' }, field)
  }
  t.match(verifyAuditChain(events.filter((_, index) => index !== at)), { ok: false, reason: 'out_of_order' })
  t.match(verifyAuditChain([...events.slice(0, at), events[at]!, ...events.slice(at)]), { ok: false })
  const renumbered = events
    .filter((_, index) => index !== at)
    .map((event, index) => ({ ...event, sequence: index + 1 }))
  t.match(verifyAuditChain(renumbered), { ok: false, sequence: at + 1, reason: 'broken_link' })
})

t.test('a part of a chain verifies from the hash in front of it', async t => {
  const events = await exported()
  t.match(verifyAuditChain(events.slice(3), events[2]!.hash), { ok: true })
  t.match(verifyAuditChain(events.slice(3), events[1]!.hash), { ok: false, reason: 'broken_link' })
})

t.test('rows are never changed and never removed, not even by the owner of the table', async t => {
  const refusal = async (statement: PromiseLike<unknown>) => {
    try {
      await statement
      return 'done'
    } catch (error) {
      return (error as { constraint_name: string }).constraint_name
    }
  }
  t.equal(await refusal(stand.sql`update rap.audit_events set event = 'x'`), 'audit_events_append_only')
  t.equal(await refusal(stand.sql`delete from rap.audit_events`), 'audit_events_append_only')
  t.equal(await refusal(stand.sql`truncate rap.audit_events`), 'audit_events_never_truncated')
  t.equal(await refusal(stand.sql`truncate rap.organizations cascade`), 'audit_events_never_truncated')
})

t.test('what a superuser changes behind the triggers is found by the verifier', async t => {
  const superuser = connectPostgres(stand.superuserUrl, { max: 1, applicationName: 'test' })
  t.teardown(() => superuser.end({ timeout: 5 }))
  await superuser`alter table rap.audit_events disable trigger all`
  await superuser`
    update rap.audit_events set user_id = null, actor_id = 'nobody'
    where organization_id = ${organizationId} and sequence = 4`
  await superuser`alter table rap.audit_events enable trigger all`
  t.match(verifyAuditChain(await exported()), { ok: false, sequence: 4, reason: 'changed' })
})

t.test('events of organizations and of the platform are chains of their own', async t => {
  const other = await stand.organization()
  await append({}, other)
  await append({}, null)
  const [own] = await stand.audit(other)
  t.equal(Number(own!.sequence), 1)
})

t.test('an event that is out of form is refused by the database', async t => {
  const event = (change: Record<string, unknown>) =>
    stand.sql`select rap.append_audit_event(${stand.sql.json({
      organization_id: organizationId,
      event: 'resource_created',
      actor: { kind: 'user', id: 'x' },
      outcome: 'ok',
      ...change,
    } as never)})`
  const refused = [
    { event: 'Not A Name' },
    { event: null },
    { actor: { kind: 'stranger', id: 'x' } },
    { actor: null },
    { outcome: 'maybe' },
    { code: 'not a code' },
    { password: 'x' },
    { session_id: 'not a uuid' },
    { details: { text: 'x'.repeat(20_000) } },
    { organization_id: auditor.id },
  ]
  for (const change of refused) await t.rejects(Promise.resolve(event(change)), JSON.stringify(change).slice(0, 40))
  await event({ details: { nested: { a: [1] } } })
  t.same((await stand.audit(organizationId)).at(-1)!.details, { nested: '{"a": [1]}' }, 'nested values become text')
})

t.test('pages are newest first, and filters narrow them', async t => {
  const other = await stand.organization()
  const reader = await stand.user({ organizationId: other, role: 'auditor' })
  for (let index = 0; index < 7; index++) await append({ number: index }, other)
  await appendAuditEvent(stand.sql, {
    organization_id: other,
    event: 'session_failed',
    actor: { kind: 'worker', id: 'w' },
    outcome: 'failed',
    code: 'ERR_X',
    resource_id: organizationId,
  })
  const sequences: number[] = []
  let url = '/v1/audit-events?limit=3'
  for (;;) {
    const { body } = await instance.call(reader, 'GET', url)
    sequences.push(...body.items.map((item: { sequence: number }) => item.sequence))
    if (body.next_cursor === null) break
    url = `/v1/audit-events?limit=3&cursor=${body.next_cursor}`
  }
  t.same(sequences, [8, 7, 6, 5, 4, 3, 2, 1])
  const count = async (query: string) =>
    (await instance.call(reader, 'GET', `/v1/audit-events?${query}`)).body.items.length
  t.equal(await count('event=session_failed'), 1)
  t.equal(await count('outcome=failed'), 1)
  t.equal(await count(`resource_id=${organizationId}`), 1)
  t.equal(await count(`from=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}`), 0)
  t.equal(await count(`to=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}`), 8)
  t.equal((await instance.call(reader, 'GET', '/v1/audit-events?from=yesterday')).status, 400)
})

t.test('workers and the gateway report what is on their list, about attachments of their own', async t => {
  const worker = (await instance.worker()).start()
  const operator = await stand.user({ organizationId, role: 'operator' })
  const resourceId = await stand.resource(organizationId)
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: 'A'.repeat(43) },
  })
  const attachment_id = body.attachment.id
  const report = (peer: string, event: Record<string, unknown>) =>
    instance.internal(peer, 'POST', '/internal/v1/audit-events', { body: event })
  const event = { event: 'channel_refused', attachment_id, details: { channel: 'rdpsnd' } }
  t.equal((await report(worker.peer, event)).status, 204)
  t.match((await stand.audit(organizationId)).at(-1), {
    event: 'channel_refused',
    actor_kind: 'worker',
    worker_id: worker.id,
    session_id: body.session.id,
    resource_id: resourceId,
    user_id: operator.id,
    outcome: 'refused',
  })
  for (const [name, outcome] of [
    ['channel_data_withheld', 'refused'],
    ['upload_finished', 'ok'],
    ['upload_refused', 'refused'],
  ] as const) {
    const details = { channel: 'file_upload', bytes: 7 }
    t.equal((await report(worker.peer, { event: name, outcome, attachment_id, details })).status, 204)
    t.match((await stand.audit(organizationId)).at(-1), { event: name, outcome, session_id: body.session.id, details })
  }
  t.equal(
    (await report(worker.peer, { event: 'session_started', attachment_id })).body.code,
    'ERR_AUDIT_EVENT_NOT_ALLOWED',
  )
  t.equal((await report('service/gateway', event)).body.code, 'ERR_AUDIT_EVENT_NOT_ALLOWED')
  t.equal((await report('service/gateway', { event: 'data_plane_bind_refused', attachment_id })).status, 204)
  t.equal(
    (await report('service/gateway', { event: 'data_plane_bind_refused', code: 'ERR_BIND_TOKEN_INVALID' })).status,
    204,
  )
  t.equal((await report('service/secret-resolver', event)).status, 403)
  const other = await instance.worker()
  t.equal((await report(other.peer, event)).status, 404, 'not its attachment')
  t.equal((await report(worker.peer, { ...event, session_id: resourceId })).status, 404, 'not the session of it')
  t.equal((await report(worker.peer, { ...event, details: { password: 'x' } })).status, 400)
  t.equal((await report(worker.peer, { ...event, details: { nested: { a: 1 } } })).status, 400)
  const refused = (await stand.audit(null)).filter(row => row.event === 'audit_report_refused')
  t.match(
    refused.map(row => [row.actor_id, row.code]),
    [
      [worker.id, 'ERR_AUDIT_EVENT_NOT_ALLOWED'],
      ['gateway', 'ERR_AUDIT_EVENT_NOT_ALLOWED'],
      [other.id, 'ERR_NOT_FOUND'],
      [worker.id, 'ERR_NOT_FOUND'],
      [worker.id, 'ERR_VALIDATION'],
    ],
    'a worker that says what is not its to say is in the audit for it',
  )
})

t.test('a peer that goes wild does not fill the audit, and the audit says how far it went', async t => {
  const worker = await instance.worker()
  const report = () =>
    instance.internal(worker.peer, 'POST', '/internal/v1/audit-events', { body: { event: 'data_plane_bind_refused' } })
  // At once, so that it is within one minute of the limit, and within one window of the audit.
  const many = (count: number) => Promise.all(Array.from({ length: count }, report))
  const answers = []
  for (let round = 0; round < 5; round++) answers.push(...(await many(61)))
  t.equal(answers.filter(answer => answer.status === 204).length, 300)
  t.equal(answers.filter(answer => answer.status === 429).length, 5)
  await instance.controlPlane.context.refusals.flush()
  const refused = (await stand.audit(null)).filter(row => row.actor_id === worker.id && row.code === 'ERR_RATE_LIMITED')
  const counts = refused.map(row => (row.details as { suppressed_count?: number }).suppressed_count)
  t.same(counts, [undefined, undefined, undefined, undefined, undefined])
  await many(50)
  await instance.controlPlane.context.refusals.flush()
  const [last] = (await stand.audit(null)).slice(-1)
  t.match(last, { event: 'audit_report_refused', worker_id: worker.id, details: { suppressed_count: 45 } })
})

t.test('a flood of reports about strangers leaves room for those about attachments', async t => {
  const labels = { pool: 'flooded' }
  const worker = (await instance.worker({ labels })).start()
  const operator = await stand.user({ organizationId, role: 'operator' })
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: await stand.resource(organizationId, { labels }), dpop_jkt: 'A'.repeat(43) },
  })
  const report = (about: Record<string, unknown>) =>
    instance.internal(worker.peer, 'POST', '/internal/v1/audit-events', {
      body: { event: 'data_plane_bind_refused', ...about },
    })
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 60 }, () => report({})))
  t.equal((await report({})).status, 429)
  t.equal((await report({ attachment_id: body.attachment.id })).status, 204)
})
