import { randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { createAuthority, issueCertificate } from '@rap/pki'
import t from 'tap'
import { newJkt, startStand } from '../helper.ts'
import { judgeOf, type Shown, shown } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const operator = await stand.user({ organizationId, role: 'operator' })
const worker = (await instance.worker()).start()
const [first, second, third] = await Promise.all([shown(), shown(), shown()])

const url = (id: string) => `/v1/resources/${id}/target-identity`
const read = async (id: string) => (await instance.call(admin, 'GET', url(id))).body
const decide = (id: string, body: Record<string, unknown>, user = admin) =>
  instance.call(user, 'POST', url(id), { body })

/** Starts a session on a target that shows this certificate. */
async function start(id: string, certificate: Shown, user = operator, judge = judgeOf(certificate)) {
  worker.shows = certificate.chain
  worker.judge = judge
  return await instance.call(user, 'POST', '/v1/sessions', {
    body: { resource_id: id, dpop_jkt: await newJkt() },
  })
}

/** Ends what is connected, so that limits are not met. */
t.afterEach(async () => {
  await stand.sql`
    update rap.session_attachments set state = 'closed', closed_at = now() where state in ('assigning', 'ready', 'active')`
  await stand.sql`
    update rap.remote_sessions set state = 'terminated', ended_at = now() where state in ('assigning', 'ready', 'active')`
})

async function events(id: string): Promise<string[]> {
  return (await stand.audit(organizationId))
    .filter(event => event.resource_id === id && /^target_|^session_refused/.test(String(event.event)))
    .map(event => String(event.event))
}

/** A resource whose first certificate is approved. */
async function approved(certificate: Shown): Promise<string> {
  const id = await stand.resource(organizationId)
  await start(id, certificate)
  t.equal((await decide(id, { action: 'approve', fingerprint_sha256: certificate.fingerprint })).status, 200)
  return id
}

t.test('a resource without a mode refuses an unknown certificate; an approval of what was seen pins it', async t => {
  const id = await stand.resource(organizationId)
  t.match(await read(id), { mode: 'strict', alarm: null, approved: [], staged: [], seen: [], ca: null })
  const refused = await start(id, first)
  t.equal(refused.status, 502)
  t.equal(refused.body.code, 'ERR_TARGET_CERTIFICATE_UNTRUSTED')
  const seen = await read(id)
  t.match(seen.seen, [
    {
      fingerprint_sha256: first.fingerprint,
      spki_sha256: first.spki,
      state: 'seen',
      subject: 'CN=desktop',
      self_signed: false,
      names: ['desktop.example'],
      times_seen: 1,
      worker_id: worker.id,
      refused_code: 'ERR_TARGET_CERTIFICATE_UNTRUSTED',
      accepted_at: null,
    },
  ])
  const chain = await instance.call(admin, 'GET', `${url(id)}/certificates/${first.fingerprint}`)
  t.match(chain.body.chain, [{ subject: 'CN=desktop', fingerprint_sha256: first.fingerprint }])
  t.equal(new X509Certificate(chain.body.chain[0].pem).raw.toString('base64'), first.chain[0])
  const unknown = await instance.call(admin, 'GET', `${url(id)}/certificates/${second.fingerprint}`)
  t.equal(unknown.body.code, 'ERR_TARGET_CERTIFICATE_NOT_SEEN')
  t.equal((await instance.call(operator, 'GET', `${url(id)}/certificates/${first.fingerprint}`)).status, 403)
  const answer = await decide(id, { action: 'approve', fingerprint_sha256: first.fingerprint })
  t.match(answer.body, {
    mode: 'pinned',
    approved: [{ kind: 'certificate', sha256: first.fingerprint, source: 'decision', decided_by: admin.id }],
    seen: [{ state: 'approved' }],
  })
  t.equal((await start(id, first)).status, 201)
  t.match(worker.assignments.at(-1)?.target, {
    certificate_verification_mode: 'pinned',
    certificate_pins: [first.fingerprint],
    public_key_pins: [],
  })
  t.same(await events(id), ['target_certificate_seen', 'target_certificate_approved'])
})

t.test('pinned without a pin waits for an approval, and says so', async t => {
  const id = await stand.resource(organizationId, { metadata: { certificate_verification_mode: 'pinned' } })
  t.equal((await start(id, first)).body.code, 'ERR_TARGET_CERTIFICATE_UNKNOWN')
  t.equal((await read(id)).alarm, null, 'nothing was approved, so nothing has changed')
})

t.test('the fingerprint is told to those who may decide about it, and to nobody else', async t => {
  const id = await stand.resource(organizationId)
  const told = await start(id, first, admin)
  t.match(told.body, { code: 'ERR_TARGET_CERTIFICATE_UNTRUSTED', fingerprint_sha256: first.fingerprint })
  const kept = await start(id, first, operator)
  t.notMatch(kept.text, new RegExp(first.fingerprint))
  const session = await instance.call(operator, 'GET', `/v1/sessions/${kept.body.session_id}`)
  t.notMatch(session.text, new RegExp(first.fingerprint))
  t.equal((await instance.call(operator, 'GET', url(id))).status, 403)
})

t.test(
  'another certificate raises the alarm once, and no session starts or attaches until somebody decides',
  async t => {
    const id = await approved(first)
    const running = await start(id, first)
    t.equal(running.status, 201)
    const swapped = await start(id, second)
    t.equal(swapped.body.code, 'ERR_TARGET_CERTIFICATE_MISMATCH')
    t.match(await read(id), {
      alarm: { fingerprint_sha256: second.fingerprint, code: 'ERR_TARGET_CERTIFICATE_MISMATCH' },
    })
    const orders = worker.assignments.length
    const stopped = await start(id, first)
    t.equal(stopped.status, 409)
    t.match(stopped.body, { code: 'ERR_TARGET_IDENTITY_CHANGED', fingerprint_sha256: undefined })
    t.match((await start(id, first, admin)).body, { fingerprint_sha256: second.fingerprint })
    const attach = await instance.call(operator, 'POST', `/v1/sessions/${running.body.session.id}/attachments`, {
      body: { dpop_jkt: await newJkt(), takeover: true },
    })
    t.equal(attach.body.code, 'ERR_TARGET_IDENTITY_CHANGED')
    t.equal(worker.assignments.length, orders, 'no worker was asked')
    const found = (await events(id)).filter(event => event !== 'target_certificate_seen')
    t.same(found, [
      'target_certificate_approved',
      'target_identity_changed',
      'session_refused',
      'session_refused',
      'session_refused',
    ])
  },
)

t.test('an alarm ends by a dismissal that names it, by an approval, or by staging what raised it', async t => {
  const dismissed = await approved(first)
  await start(dismissed, second)
  const other = await decide(dismissed, { action: 'dismiss_alarm', fingerprint_sha256: third.fingerprint })
  t.equal(other.body.code, 'ERR_TARGET_ALARM_OTHER')
  await decide(dismissed, { action: 'dismiss_alarm', fingerprint_sha256: second.fingerprint })
  t.equal((await start(dismissed, first)).status, 201)
  t.equal((await start(dismissed, second)).body.code, 'ERR_TARGET_CERTIFICATE_MISMATCH', 'it is raised again')
  t.ok((await read(dismissed)).alarm)

  const planned = await approved(first)
  await start(planned, second)
  const answer = await decide(planned, { action: 'approve', fingerprint_sha256: second.fingerprint })
  t.match(answer.body, {
    alarm: null,
    approved: [{ sha256: second.fingerprint }],
    retired: [{ sha256: first.fingerprint }],
  })
  t.equal((await start(planned, second)).status, 201)
  t.equal(
    (await start(planned, first)).body.code,
    'ERR_TARGET_CERTIFICATE_MISMATCH',
    'what was retired is no more accepted',
  )

  const staged = await approved(first)
  await start(staged, second)
  await decide(staged, { action: 'stage', kind: 'public_key', sha256: second.spki })
  t.equal((await read(staged)).alarm, null)
  t.equal((await start(staged, second)).status, 201)
})

t.test('whoever pins the certificate of an alarm in the metadata has decided about it', async t => {
  const id = await approved(first)
  await start(id, second)
  t.equal((await start(id, second)).status, 409)
  const metadata = { certificate_pins: [second.fingerprint] }
  await instance.call(admin, 'PATCH', `/v1/resources/${id}`, { body: { metadata } })
  t.equal((await start(id, second)).status, 201)
  t.match(await read(id), { alarm: null, seen: [{ state: 'approved' }, { state: 'approved' }] })
})

t.test('a staged pin becomes the approved one when it shows up, and the earlier one is retired', async t => {
  const id = await approved(first)
  await decide(id, { action: 'stage', sha256: second.fingerprint.toUpperCase().match(/../g)?.join(':') })
  t.match(await read(id), { approved: [{ sha256: first.fingerprint }], staged: [{ sha256: second.fingerprint }] })
  t.equal((await start(id, first)).status, 201, 'the old one is good until then')
  t.equal((await start(id, second)).status, 201)
  t.match(await read(id), {
    alarm: null,
    approved: [{ sha256: second.fingerprint, decided_by: null }],
    staged: [],
    retired: [{ sha256: first.fingerprint }],
  })
  t.match(
    (await stand.audit(organizationId)).findLast(({ event }) => event === 'target_identity_rotated'),
    {
      actor_kind: 'worker',
      resource_id: id,
      details: { fingerprint_sha256: second.fingerprint, kind: 'certificate', retired: first.fingerprint },
    },
  )
  t.equal((await start(id, first)).body.code, 'ERR_TARGET_CERTIFICATE_MISMATCH')
})

t.test('a pin of the metadata is retired with the others, and leaves the metadata', async t => {
  const id = await stand.resource(organizationId, {
    metadata: { certificate_verification_mode: 'pinned', certificate_pins: [first.fingerprint] },
  })
  t.equal((await start(id, first)).status, 201)
  await decide(id, { action: 'stage', sha256: second.fingerprint })
  t.match(await read(id), { approved: [{ sha256: first.fingerprint, source: 'metadata' }] })
  t.equal((await start(id, second)).status, 201)
  t.match(await read(id), { approved: [{ sha256: second.fingerprint }], retired: [{ sha256: first.fingerprint }] })
  const { body } = await instance.call(admin, 'GET', `/v1/resources/${id}`)
  t.same(body.metadata, { certificate_verification_mode: 'pinned' })
})

t.test('several hosts behind one address keep their certificates side by side', async t => {
  const id = await approved(first)
  await decide(id, { action: 'stage', sha256: second.fingerprint, keep_others: true })
  for (const certificate of [first, second, first, second]) t.equal((await start(id, certificate)).status, 201)
  await start(id, third)
  await decide(id, { action: 'approve', fingerprint_sha256: third.fingerprint, keep_others: true })
  for (const certificate of [first, second, third]) t.equal((await start(id, certificate)).status, 201)
  t.equal((await read(id)).approved.length, 3)
})

t.test('a public key outlives the certificate around it', async t => {
  const id = await stand.resource(organizationId)
  await start(id, first)
  await decide(id, { action: 'approve', fingerprint_sha256: first.fingerprint, kind: 'public_key' })
  t.equal((await start(id, first)).status, 201)
  t.match(worker.assignments.at(-1)?.target, { certificate_pins: [], public_key_pins: [first.spki] })
})

t.test(
  'what is rejected is refused in every mode, whatever the worker says, and an approval takes it back',
  async t => {
    const id = await approved(first)
    await decide(id, { action: 'reject', fingerprint_sha256: first.fingerprint })
    t.match(await read(id), { approved: [], rejected: [{ sha256: first.fingerprint }], seen: [{ state: 'rejected' }] })
    const trusting = () => undefined
    t.equal((await start(id, first, operator, trusting)).body.code, 'ERR_TARGET_CERTIFICATE_REJECTED')
    for (const certificate_verification_mode of ['strict', 'platform_ca', 'insecure']) {
      await instance.call(admin, 'PATCH', `/v1/resources/${id}`, {
        body: { metadata: { certificate_verification_mode } },
      })
      t.equal((await start(id, first, operator, trusting)).body.code, 'ERR_TARGET_CERTIFICATE_REJECTED')
    }
    t.equal((await decide(id, { action: 'stage', sha256: first.fingerprint })).body.code, 'ERR_TARGET_PIN_REJECTED')
    await decide(id, { action: 'approve', fingerprint_sha256: first.fingerprint })
    t.match(await read(id), { mode: 'pinned', approved: [{ sha256: first.fingerprint }], rejected: [] })
    t.equal((await start(id, first)).status, 201)
  },
)

t.test('a target that a chain vouched for raises the alarm when a stranger answers in its place', async t => {
  const id = await stand.resource(organizationId, { metadata: { certificate_verification_mode: 'strict' } })
  const vouched = () => undefined
  t.equal((await start(id, first, operator, vouched)).status, 201)
  t.equal((await start(id, second, operator, vouched)).status, 201, 'renewed by the same authority')
  t.equal((await start(id, third)).body.code, 'ERR_TARGET_CERTIFICATE_UNTRUSTED')
  t.match(await read(id), { alarm: { fingerprint_sha256: third.fingerprint } })
  t.equal((await start(id, first, operator, vouched)).status, 409)
})

t.test('another address is another machine, and no change of the one before', async t => {
  const id = await stand.resource(organizationId)
  t.equal((await start(id, first, operator, () => undefined)).status, 201)
  await instance.call(admin, 'PATCH', `/v1/resources/${id}`, { body: { address: 'elsewhere.example:3389' } })
  await start(id, second)
  t.equal((await read(id)).alarm, null)
})

t.test('pins are withdrawn wherever they stand, and an approved one is remembered as retired', async t => {
  const id = await approved(first)
  await decide(id, { action: 'stage', sha256: second.fingerprint })
  await decide(id, { action: 'withdraw', sha256: second.fingerprint })
  await decide(id, { action: 'withdraw', sha256: first.fingerprint })
  t.match(await read(id), { approved: [], staged: [], retired: [{ sha256: first.fingerprint }], mode: 'pinned' })
  t.equal((await start(id, first)).body.code, 'ERR_TARGET_CERTIFICATE_UNKNOWN', 'without a pin nothing is accepted')
  const again = await decide(id, { action: 'withdraw', sha256: first.fingerprint })
  t.equal(again.body.code, 'ERR_TARGET_PIN_NOT_FOUND')
  await instance.call(admin, 'PATCH', `/v1/resources/${id}`, {
    body: { metadata: { certificate_pins: [second.fingerprint, third.fingerprint] } },
  })
  await decide(id, { action: 'withdraw', sha256: second.fingerprint })
  t.match((await read(id)).approved, [{ sha256: third.fingerprint, source: 'metadata' }])
})

t.test('pins are bounded', async t => {
  const id = await approved(first)
  const random = () => randomBytes(32).toString('hex')
  for (let index = 0; index < 7; index++) {
    t.equal((await decide(id, { action: 'stage', sha256: random() })).status, 200)
  }
  t.equal((await decide(id, { action: 'stage', sha256: random() })).body.code, 'ERR_TARGET_PIN_LIMIT')
  t.equal((await decide(id, { action: 'stage', kind: 'public_key', sha256: random() })).status, 200)
  const pins = Array.from({ length: 8 }, random)
  await instance.call(admin, 'PATCH', `/v1/resources/${id}`, { body: { metadata: { certificate_pins: pins } } })
  t.equal((await start(id, first)).status, 201, 'an order holds them all')
  t.equal(worker.assignments.at(-1)?.target.certificate_pins?.length, 16)
})

t.test(
  'endless certificates fill nothing: the newest are kept, what was decided about stays, the rest is counted',
  async t => {
    const id = await approved(first)
    await instance.call(admin, 'PATCH', `/v1/resources/${id}`, {
      body: { metadata: { certificate_verification_mode: 'strict' } },
    })
    const impostor = await createAuthority({ name: 'impostor', days: 1, now: new Date() })
    await stand.sql`update rap.target_certificates set accepted_at = null where resource_id = ${id}`
    for (let index = 0; index < 25; index++) await start(id, await shown({ authority: impostor, name: `h${index}` }))
    const { seen, forgotten_count } = await read(id)
    t.equal(seen.length, 21)
    t.equal(forgotten_count, 5)
    t.equal(seen[0].subject, 'CN=h24')
    t.ok(
      seen.some(({ fingerprint_sha256 }: { fingerprint_sha256: string }) => fingerprint_sha256 === first.fingerprint),
    )
  },
)

t.test('an authority is enrolled for strict and handed to workers; what is no authority is refused', async t => {
  const id = await stand.resource(organizationId)
  const corporate = await createAuthority({ name: 'corporate', days: 30, now: new Date() })
  const answer = await decide(id, { action: 'enrol_ca', certificates_pem: corporate.certificatePem })
  t.match(answer.body, {
    mode: 'strict',
    ca: { certificates: [{ subject: 'CN=corporate' }], enrolled_by: admin.id, certificates_pem: /BEGIN CERTIFICATE/ },
  })
  await start(id, first, operator, () => undefined)
  const der = new X509Certificate(corporate.certificatePem).raw.toString('base64')
  t.same(worker.assignments.at(-1)?.target.certificate_authorities, [der])
  const expired = await createAuthority({ name: 'old', days: 1, now: new Date(Date.now() - 5 * 86_400_000) })
  const leaf = await issueCertificate({ authority: corporate, commonName: 'x', usages: ['server'], now: new Date() })
  const four = await Promise.all([1, 2, 3, 4].map(n => createAuthority({ name: `ca${n}`, days: 1, now: new Date() })))
  for (const [name, pem] of [
    ['nothing', ''],
    ['text', 'hello'],
    ['a leaf', leaf.certificatePem],
    ['expired', expired.certificatePem],
    ['a private key', corporate.certificatePem + leaf.keyPem],
    ['too many', four.map(({ certificatePem }) => certificatePem).join('')],
    ['garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'],
  ] as const) {
    const { body } = await decide(id, { action: 'enrol_ca', certificates_pem: pem })
    t.equal(body.code, 'ERR_TARGET_CA_INVALID', name)
    t.notMatch(JSON.stringify(body), /PRIVATE|hello/)
  }
  t.match((await decide(id, { action: 'remove_ca' })).body, { ca: null })
  t.equal((await decide(id, { action: 'remove_ca' })).body.code, 'ERR_TARGET_PIN_NOT_FOUND')
  await start(id, first, operator, () => undefined)
  t.equal(worker.assignments.at(-1)?.target.certificate_authorities, undefined)
  t.same(
    (await events(id)).filter(event => event.startsWith('target_ca')),
    ['target_ca_enrolled', 'target_ca_removed'],
  )
})

t.test('every decision is in the chain of the organization, with who decided', async t => {
  const id = await approved(first)
  await start(id, second)
  for (const body of [
    { action: 'reject', fingerprint_sha256: second.fingerprint },
    { action: 'dismiss_alarm', fingerprint_sha256: second.fingerprint },
    { action: 'stage', sha256: third.fingerprint },
    { action: 'withdraw', sha256: third.fingerprint },
  ]) {
    t.equal((await decide(id, body)).status, 200, body.action)
  }
  const made = (await stand.audit(organizationId)).filter(
    event => event.resource_id === id && event.user_id === admin.id,
  )
  t.same(
    made.map(({ event }) => event),
    [
      'target_certificate_approved',
      'target_certificate_rejected',
      'target_identity_alarm_dismissed',
      'target_certificate_staged',
      'target_certificate_withdrawn',
    ],
  )
})

t.test('a decision with the wrong fields is refused, and only those who manage resources decide', async t => {
  const id = await stand.resource(organizationId)
  for (const body of [
    { action: 'approve' },
    { action: 'approve', fingerprint_sha256: 'ab' },
    { action: 'approve', fingerprint_sha256: first.fingerprint, sha256: first.fingerprint },
    { action: 'stage', fingerprint_sha256: first.fingerprint },
    { action: 'stage', sha256: first.fingerprint, kind: 'subject' },
    { action: 'dismiss_alarm' },
    { action: 'remove_ca', keep_others: true },
    { action: 'enrol_ca' },
    { action: 'trust_all' },
    {},
  ]) {
    t.equal((await decide(id, body)).status, 400, JSON.stringify(body))
  }
  const unseen = await decide(id, { action: 'approve', fingerprint_sha256: first.fingerprint })
  t.match(unseen, { status: 404, body: { code: 'ERR_TARGET_CERTIFICATE_NOT_SEEN' } })
  const body = { action: 'stage', sha256: first.fingerprint }
  t.equal((await decide(id, body, operator)).status, 403)
  const stranger = await stand.user({ organizationId: await stand.organization(), role: 'owner' })
  t.equal((await decide(id, body, stranger)).status, 404)
})

t.test('a worker reports about its own attachments alone, while they are opened, and by the rules of now', async t => {
  const id = await stand.resource(organizationId)
  worker.reaction = 'silent'
  worker.shows = undefined
  const starting = instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: id, dpop_jkt: await newJkt() },
  })
  const orders = worker.assignments.length
  while (worker.assignments.length === orders) await new Promise(resolve => setImmediate(resolve))
  const attachment = worker.assignments.at(-1)?.attachment_id ?? ''
  const body = { mode: 'strict', certificates: first.chain }
  const foreign = await instance.worker()
  await foreign.disappear()
  t.equal((await foreign.show(attachment, body)).status, 404)
  t.equal((await worker.show(randomUUID(), body)).status, 404)
  const path = `/internal/v1/attachments/${attachment}/target-certificate`
  t.equal((await instance.internal('service/gateway', 'POST', path, { body })).status, 403)
  t.equal((await worker.show(attachment, { ...body, mode: 'pinned' })).body.code, 'ERR_TARGET_RULES_CHANGED')
  for (const certificates of [
    [],
    ['AAAA'],
    ['****'],
    [first.chain[0], ...Array.from({ length: 6 }, () => 'AAAA')],
    ['A'.repeat(21_852)],
    [first.chain[0], 'A'.repeat(21_848), 'A'.repeat(21_848), 'A'.repeat(21_848)],
  ]) {
    const { status } = await worker.show(attachment, { ...body, certificates })
    t.ok([400, 413, 422].includes(status), `${certificates.length}: ${status}`)
  }
  t.equal((await worker.show(attachment, { ...body, code: 'no code' })).status, 400)
  t.match((await worker.show(attachment, body)).body, { decision: 'accepted', code: null })
  await worker.report(attachment, { state: 'ready' })
  worker.reaction = 'ready'
  t.equal((await starting).status, 201)
  t.equal((await worker.show(attachment, body)).body.code, 'ERR_ATTACHMENT_STATE')
})

t.test('parallel sessions promote a pin once and raise an alarm once', async t => {
  const id = await approved(first)
  await decide(id, { action: 'stage', sha256: second.fingerprint })
  await Promise.all(Array.from({ length: 4 }, () => start(id, second)))
  t.equal((await events(id)).filter(event => event === 'target_identity_rotated').length, 1)
  await Promise.all(Array.from({ length: 4 }, () => start(id, third)))
  t.equal((await events(id)).filter(event => event === 'target_identity_changed').length, 1)
})
