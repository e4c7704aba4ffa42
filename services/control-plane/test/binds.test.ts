import { randomUUID } from 'node:crypto'
import { CHANNELS, type Channel, DEFAULT_LIMITS, RDP_CHANNELS, SIDE_CHANNELS } from '@rap/session-policy'
import { PURPOSES, signToken, type UnsignedClaims } from '@rap/token-claims'
import { generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import { newJkt, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()
const { signing, config } = instance.controlPlane.context

async function start() {
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  return body as { session: { id: string }; attachment: { id: string }; data_plane: { token: string } }
}

type Claims = UnsignedClaims<'data_plane'>

/** A token that is signed right and says something else. */
async function tokenWith(token: string, change: Partial<Claims>, options: { ageSeconds?: number } = {}) {
  const payload = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
  const registered = ['iss', 'aud', 'iat', 'nbf', 'exp', 'jti']
  const claims = Object.fromEntries(Object.entries(payload).filter(([name]) => !registered.includes(name)))
  return await signToken(
    'data_plane',
    { ...(claims as unknown as Claims), ...change },
    {
      key: await signing.active(),
      issuer: config.DATA_PLANE_ISSUER,
      jti: randomUUID(),
      nowSeconds: Math.floor(Date.now() / 1000) - (options.ageSeconds ?? 0),
      lifetimeSeconds: PURPOSES.data_plane.maxLifetimeSeconds,
    },
  )
}

async function lastAudit(chain: string | null = organizationId) {
  return (await stand.audit(chain)).at(-1)!
}

t.test('a bind marks attachment and session active and is in the audit', async t => {
  const { session, attachment, data_plane } = await start()
  const { status, body } = await worker.bind(data_plane.token)
  t.equal(status, 200)
  t.match(body, {
    session_id: session.id,
    attachment_id: attachment.id,
    user_id: operator.id,
    organization_id: organizationId,
    resource_id: resourceId,
    allowed_channels: ['display', 'input'],
  })
  const read = await instance.call(operator, 'GET', `/v1/sessions/${session.id}`)
  t.match(read.body, { state: 'active', attachment: { state: 'active' } })
  t.match(await lastAudit(), {
    event: 'data_plane_bound',
    outcome: 'ok',
    actor_kind: 'worker',
    actor_id: worker.id,
    session_id: session.id,
    user_id: operator.id,
    details: { bind_id: body.bind_id, client_address: '192.0.2.7', channels: 'display,input' },
  })
})

t.test('a token binds once', async t => {
  const { data_plane } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  const replay = await worker.bind(data_plane.token)
  t.equal(replay.status, 403)
  t.equal(replay.body.code, 'ERR_BIND_TOKEN_REPLAYED')
  t.match(await lastAudit(), { event: 'data_plane_bind_refused', outcome: 'refused', code: 'ERR_BIND_TOKEN_REPLAYED' })
})

t.test('of fifty parallel binds of one token, over two instances, exactly one wins', async t => {
  const second = await stand.build()
  const { data_plane } = await start()
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => worker.bind(data_plane.token, {}, index % 2 === 0 ? instance : second)),
  )
  t.equal(answers.filter(answer => answer.status === 200).length, 1)
  t.equal(answers.filter(answer => answer.body.code === 'ERR_BIND_TOKEN_REPLAYED').length, 49)
  // What was counted gets its row now, and not while a later test looks at the newest one.
  for (const on of [instance, second]) await on.controlPlane.context.refusals.flush()
})

t.test('a replay is refused after Redis was emptied and in a new process', async t => {
  const { data_plane } = await start()
  t.equal((await worker.bind(data_plane.token)).status, 200)
  await stand.redis.flushall()
  const later = await stand.build()
  t.match((await worker.bind(data_plane.token, {}, later)).body, { code: 'ERR_BIND_TOKEN_REPLAYED' })
  await worker.heartbeat()
})

t.test('a token for another worker is refused, and stays good for its own', async t => {
  const { data_plane } = await start()
  const other = await instance.worker()
  await other.disappear()
  t.match((await other.bind(data_plane.token)).body, { code: 'ERR_BIND_WRONG_WORKER' })
  t.match(await lastAudit(), { code: 'ERR_BIND_WRONG_WORKER', worker_id: other.id })
  // Also when the token itself names the other worker: the attachment is not there.
  const moved = await tokenWith(data_plane.token, { worker_id: other.id })
  t.match((await other.bind(moved)).body, { code: 'ERR_BIND_WRONG_WORKER' })
  t.equal((await worker.bind(data_plane.token)).status, 200)
})

t.test('a token that names another organization, resource or user is refused', async t => {
  const { data_plane } = await start()
  const foreign = await stand.organization()
  const colleague = await stand.user({ organizationId, role: 'operator' })
  const cases: [Partial<Claims>, string][] = [
    [{ organization_id: foreign }, 'ERR_BIND_WRONG_ORGANIZATION'],
    [{ resource_id: await stand.resource(organizationId) }, 'ERR_BIND_WRONG_RESOURCE'],
    [{ sub: colleague.id }, 'ERR_BIND_WRONG_USER'],
    [{ sub: randomUUID() }, 'ERR_BIND_WRONG_USER'],
    [{ cnf: { jkt: await newJkt() } }, 'ERR_BIND_PROOF_INVALID'],
    [{ session_id: randomUUID() }, 'ERR_BIND_TOKEN_INVALID'],
    [{ attachment_id: randomUUID() }, 'ERR_BIND_TOKEN_INVALID'],
  ]
  for (const [change, code] of cases) {
    const { status, body } = await worker.bind(await tokenWith(data_plane.token, change))
    t.equal(status, 403, code)
    t.equal(body.code, code)
  }
  t.equal((await worker.bind(data_plane.token)).status, 200, 'the right one still binds')
})

t.test('a token of another session of the same user does not bind this attachment', async t => {
  const first = await start()
  const second = await start()
  const mixed = await tokenWith(first.data_plane.token, { attachment_id: second.attachment.id })
  t.match((await worker.bind(mixed)).body, { code: 'ERR_BIND_TOKEN_INVALID' })
})

t.test('a user who is no member any more binds nothing', async t => {
  const guest = await stand.user({ organizationId, role: 'operator' })
  const { body } = await instance.call(guest, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  await stand.sql`delete from rap.memberships where user_id = ${guest.id}`
  t.match((await worker.bind(body.data_plane.token)).body, { code: 'ERR_BIND_WRONG_USER' })
})

t.test('an expired token is refused as expired', async t => {
  const { data_plane } = await start()
  const old = await tokenWith(data_plane.token, {}, { ageSeconds: 120 })
  t.match((await worker.bind(old)).body, { code: 'ERR_BIND_TOKEN_EXPIRED' })
})

t.test('a token that is not ours is invalid, whatever is wrong with it', async t => {
  const { data_plane } = await start()
  const [header = '', payload = '', signature = ''] = data_plane.token.split('.')
  const { privateKey } = await generateKeyPair('RS256')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const { kid } = await signing.active()
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const cases: Record<string, string> = {
    'not a token': 'hello',
    'alg none': `${encode({ alg: 'none', typ: 'rap-dp+jwt', kid })}.${payload}.`,
    'changed claims': `${header}.${encode({ ...claims, sub: randomUUID() })}.${signature}`,
    'another key under our kid': await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', typ: 'rap-dp+jwt', kid })
      .sign(privateKey),
    'another purpose': await signToken(
      'lease',
      {
        organization_id: claims.organization_id,
        resource_id: claims.resource_id,
        worker_id: claims.worker_id,
        session_id: claims.session_id,
        attachment_id: claims.attachment_id,
        lease_id: randomUUID(),
        secret_ref: null,
        cnf: { 'x5t#S256': claims.cnf.jkt },
      },
      {
        key: await signing.active(),
        issuer: config.DATA_PLANE_ISSUER,
        jti: randomUUID(),
        nowSeconds: Math.floor(Date.now() / 1000),
        lifetimeSeconds: 60,
      },
    ),
  }
  for (const [name, token] of Object.entries(cases)) {
    t.match((await worker.bind(token)).body, { code: 'ERR_BIND_TOKEN_INVALID' }, name)
  }
  const event = await lastAudit(null)
  t.match(event, { event: 'data_plane_bind_refused', code: 'ERR_BIND_TOKEN_INVALID', organization_id: null })
})

t.test('channels beyond the attachment or the token are refused, and so are ones that do not exist', async t => {
  const { data_plane } = await start()
  for (const channels of [['display', 'file_upload'], ['clipboard_server_to_client'], ['teleport']]) {
    const { body } = await worker.bind(data_plane.token, { requested_channels: channels })
    t.equal(body.code, 'ERR_BIND_CHANNELS_NOT_ALLOWED')
  }
  const narrow = await tokenWith(data_plane.token, { allowed_channels: ['display'] })
  t.match((await worker.bind(narrow)).body, { code: 'ERR_BIND_CHANNELS_NOT_ALLOWED' })
  const wide = await tokenWith(data_plane.token, { allowed_channels: ['display', 'input', 'file_upload'] })
  t.match((await worker.bind(wide, { requested_channels: ['file_upload'] })).body, {
    code: 'ERR_BIND_CHANNELS_NOT_ALLOWED',
  })
  const less = await worker.bind(data_plane.token, { requested_channels: ['display'] })
  t.same(less.body.allowed_channels, ['display'], 'fewer than allowed is welcome')
})

t.test('a channel is carried by one connection of an attachment', async t => {
  const { session, data_plane } = await start()
  t.equal((await worker.bind(data_plane.token, { requested_channels: ['display'] })).status, 200)
  const fresh = async () =>
    (await instance.call(operator, 'POST', `/v1/sessions/${session.id}/data-plane-token`)).body.data_plane.token
  t.match((await worker.bind(await fresh())).body, { code: 'ERR_BIND_CHANNELS_NOT_ALLOWED' })
  t.equal((await worker.bind(await fresh(), { requested_channels: ['input'] })).status, 200)
})

/** An organization whose sessions have every channel, with a session of it. */
async function startWithAll() {
  const everything = await stand.organization()
  const [admin, user] = await Promise.all([
    stand.user({ organizationId: everything, role: 'admin' }),
    stand.user({ organizationId: everything, role: 'operator' }),
  ])
  await instance.call(admin, 'PUT', `/v1/organizations/${everything}/policy`, {
    body: { document: { channels: CHANNELS, limits: { session_seconds: 3600 } } },
  })
  const { body } = await instance.call(user, 'POST', '/v1/sessions', {
    body: { resource_id: await stand.resource(everything), dpop_jkt: await newJkt() },
  })
  const token = async () =>
    (await instance.call(user, 'POST', `/v1/sessions/${body.session.id}/data-plane-token`)).body.data_plane.token
  const bind = async (...requested_channels: Channel[]) => await worker.bind(await token(), { requested_channels })
  const state = async () => {
    const seen = (await instance.call(user, 'GET', `/v1/sessions/${body.session.id}`)).body
    return [seen.state, seen.attachment.state]
  }
  return { session: body.session, attachment: body.attachment, user, token, bind, state }
}

t.test('the answer to a bind has the limits, and when the session ends', async t => {
  const { session, bind } = await startWithAll()
  const { body } = await bind(...CHANNELS)
  t.same(body.limits, { ...DEFAULT_LIMITS, session_seconds: 3600 })
  t.equal(body.session_ends_at, session.ends_at)
  t.ok(3000 < body.session_seconds_left && body.session_seconds_left <= 3600, String(body.session_seconds_left))
})

t.test('channels beside the RDP stream are bound alone, and again, before and after the desktop', async t => {
  const { bind, state } = await startWithAll()
  t.match((await bind('file_upload', 'events')).body, { allowed_channels: ['file_upload', 'events'] })
  t.same(await state(), ['ready', 'ready'], 'they make no desktop one that somebody has come to')
  t.equal((await bind(...RDP_CHANNELS)).status, 200)
  t.same(await state(), ['active', 'active'])
  for (const channel of SIDE_CHANNELS) t.equal((await bind(channel)).status, 200, `${channel} again`)
  t.equal((await bind('file_upload', 'events')).status, 200)
  t.same(await state(), ['active', 'active'])
})

t.test('channels inside the RDP stream are bound once, also beside ones that may be bound again', async t => {
  const { attachment, bind } = await startWithAll()
  t.equal((await bind(...CHANNELS)).status, 200, 'everything at once')
  for (const channel of RDP_CHANNELS) {
    t.equal((await bind(channel)).body.code, 'ERR_BIND_CHANNELS_NOT_ALLOWED', channel)
    t.equal((await bind(channel, 'events')).body.code, 'ERR_BIND_CHANNELS_NOT_ALLOWED', `${channel} and events`)
  }
  const [row] = await stand.sql`select bound_channels from rap.session_attachments where id = ${attachment.id}`
  t.same(row!.bound_channels, RDP_CHANNELS)
})

t.test('a token is spent by a bind of side channels too', async t => {
  const { token } = await startWithAll()
  const spent = await token()
  t.equal((await worker.bind(spent, { requested_channels: ['events'] })).status, 200)
  for (const requested_channels of [['events'], ['display']]) {
    t.equal((await worker.bind(spent, { requested_channels })).body.code, 'ERR_BIND_TOKEN_REPLAYED')
  }
})

t.test('a token with more than the attachment allows binds nothing at all, whatever it asks for', async t => {
  for (const extra of CHANNELS.filter(channel => !['display', 'input', 'events'].includes(channel))) {
    const { data_plane } = await start()
    const wide = () => tokenWith(data_plane.token, { allowed_channels: ['display', 'input', 'events', extra] })
    for (const requested_channels of [['display'], ['events'], [extra], ['display', extra]]) {
      const { status, body } = await worker.bind(await wide(), { requested_channels })
      t.equal(status, 403)
      t.equal(body.code, 'ERR_BIND_CHANNELS_NOT_ALLOWED', `${extra}: ${requested_channels}`)
    }
    t.match(await lastAudit(), { event: 'data_plane_bind_refused', code: 'ERR_BIND_CHANNELS_NOT_ALLOWED' })
    t.equal((await worker.bind(data_plane.token)).status, 200, 'the right one still binds')
  }
})

t.test('side channels are bound where the desktop could be, and nowhere else', async t => {
  for (const command of ['detach', 'terminate']) {
    const { user, session, token } = await startWithAll()
    const early = await token()
    await instance.call(user, 'POST', `/v1/sessions/${session.id}/${command}`)
    const { body } = await worker.bind(early, { requested_channels: ['file_upload'] })
    t.equal(body.code, 'ERR_BIND_SESSION_ENDED', command)
  }
  const { user, session, token } = await startWithAll()
  const old = await token()
  await instance.call(user, 'POST', `/v1/sessions/${session.id}/attachments`, {
    body: { dpop_jkt: await newJkt(), takeover: true },
  })
  const { body } = await worker.bind(old, { requested_channels: ['file_upload'] })
  t.equal(body.code, 'ERR_BIND_ATTACHMENT_SUPERSEDED')
})

t.test('a session whose time has passed is bound by nobody, also before it is ended', async t => {
  const { user, session, token } = await startWithAll()
  const early = await token()
  await stand.sql`update rap.remote_sessions set ends_at = now() where id = ${session.id}`
  t.equal((await worker.bind(early)).body.code, 'ERR_BIND_SESSION_ENDED')
  const fresh = await instance.call(user, 'POST', `/v1/sessions/${session.id}/data-plane-token`)
  t.equal(fresh.body.code, 'ERR_SESSION_ENDED')
})

t.test('a session that is detached, terminated or failed is bound by nobody', async t => {
  for (const command of ['detach', 'terminate']) {
    const { session, data_plane } = await start()
    await instance.call(operator, 'POST', `/v1/sessions/${session.id}/${command}`)
    t.match((await worker.bind(data_plane.token)).body, { code: 'ERR_BIND_SESSION_ENDED' }, command)
  }
  const { attachment, data_plane } = await start()
  await worker.report(attachment.id, { state: 'failed', failure: { code: 'ERR_X', title: 'x' } })
  t.match((await worker.bind(data_plane.token)).body, { code: 'ERR_BIND_SESSION_ENDED' }, 'failed')
})

t.test('an attachment that an attach came after is superseded', async t => {
  const first = await start()
  await instance.call(operator, 'POST', `/v1/sessions/${first.session.id}/detach`)
  await instance.call(operator, 'POST', `/v1/sessions/${first.session.id}/attachments`, {
    body: { dpop_jkt: await newJkt() },
  })
  t.match((await worker.bind(first.data_plane.token)).body, { code: 'ERR_BIND_ATTACHMENT_SUPERSEDED' })
})

t.test('an attachment whose worker has not reported ready cannot be bound yet', async t => {
  const { data_plane } = await start()
  worker.reaction = 'silent'
  const begun = instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  const before = worker.assignments.length
  while (worker.assignments.length === before) await new Promise(resolve => setTimeout(resolve, 10))
  const assignment = worker.assignments.at(-1)!
  const early = await tokenWith(data_plane.token, {
    session_id: assignment.session_id,
    attachment_id: assignment.attachment_id,
    cnf: {
      jkt: (await stand.sql`select dpop_jkt from rap.session_attachments where id = ${assignment.attachment_id}`)[0]!
        .dpop_jkt,
    },
  })
  const { status, body } = await worker.bind(early)
  t.equal(status, 503)
  t.equal(body.code, 'ERR_BIND_UNAVAILABLE')
  worker.reaction = 'ready'
  await worker.report(assignment.attachment_id, { state: 'ready' })
  t.equal((await begun).status, 201)
  t.equal((await worker.bind(early)).status, 200, 'the refused token was not spent')
})

t.test('a revoked worker binds nothing, gets no session and cannot announce itself again', async t => {
  const owner = await stand.user({ organizationId, role: 'owner', platformRole: 'owner' })
  const doomed = (await instance.worker({ labels: { pool: 'doomed' } })).start()
  const resource = await stand.resource(organizationId, { labels: { pool: 'doomed' } })
  const begin = async () =>
    await instance.call(operator, 'POST', '/v1/sessions', { body: { resource_id: resource, dpop_jkt: await newJkt() } })
  const { body } = await begin()
  const revoked = await instance.call(owner, 'POST', `/v1/workers/${doomed.id}/revoke`)
  t.match(revoked.body, { id: doomed.id, state: 'revoked' })
  t.match((await doomed.bind(body.data_plane.token)).body, { code: 'ERR_BIND_WRONG_WORKER' })
  t.match((await doomed.announce()).body, { code: 'ERR_WORKER_REVOKED' })
  t.match((await doomed.report(body.attachment.id, { state: 'closed' })).body, { code: 'ERR_WORKER_REVOKED' })
  t.match((await begin()).body, { code: 'ERR_SESSION_NO_WORKER' })
  t.match((await instance.call(operator, 'POST', `/v1/sessions/${body.session.id}/data-plane-token`)).body, {
    code: 'ERR_SESSION_ENDED',
  })
})

t.test('binds are for workers with a certificate alone', async t => {
  const { data_plane } = await start()
  const body = {
    token: data_plane.token,
    proof_jti: randomUUID(),
    runtime_transport: 'json_v1',
    requested_channels: ['display'],
    client_address: '192.0.2.7',
  }
  for (const peer of [undefined, 'service/gateway', 'service/secret-resolver', 'worker/not-a-uuid']) {
    const answer = await instance.internal(peer, 'POST', '/internal/v1/binds', { body })
    t.equal(answer.status, 403)
    t.equal(answer.body.code, 'ERR_MTLS_IDENTITY')
  }
})

t.test('no token is in the log or in the audit', async t => {
  const { data_plane } = await start()
  await worker.bind(data_plane.token)
  await worker.bind(data_plane.token)
  const dump = await stand.postgres.dump(stand.superuserUrl)
  for (const part of data_plane.token.split('.').slice(1)) {
    t.notOk(dump.includes(part), 'database')
    t.notOk(stand.log.includes(part), 'log')
  }
})
