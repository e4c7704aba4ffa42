import { join } from 'node:path'
import { decodeRdCleanPathAnswer } from '@rap/rdp'
import { removePostgresData, startPlatform, startShadow, targetOf, tempDir, waitFor } from '@rap/testkit'
import postgres from 'postgres'
import t from 'tap'
import { bentToken, stolenSigningKey } from './forge.ts'
import { type BindOutcome, directUrl, newClientKey, rdCleanPathBind, type Started, wireBind } from './wire-client.ts'

const desktop = await startShadow({ username: 'svc', password: 'wire-Pa55', security: 'nla' })
t.teardown(() => desktop.stop())
const home = tempDir('rap-e2e-')
t.teardown(() => {
  removePostgresData(join(home.path, 'postgres'))
  home.remove()
})
const platform = await startPlatform({
  dir: home.path,
  workers: 2,
  targets: [
    targetOf(desktop, { name: 'desktop', credential: { username: 'svc', password: 'wire-Pa55' }, security: 'nla' }),
    targetOf(desktop, { name: 'locked', credential: { username: 'svc', password: 'wrong' }, security: 'nla' }),
    targetOf(desktop, { name: 'other', credential: { username: 'svc', password: 'wire-Pa55' }, security: 'nla' }),
  ],
})
t.teardown(() => platform.stop())
const sql = postgres(platform.databaseUrls.superuser, { max: 2 })
t.teardown(() => sql.end())

const { api } = platform
const [resource, locked, other] = platform.resources
const key = await newClientKey()
const signingKey = await stolenSigningKey(platform, home.path)

async function start(): Promise<Started> {
  return await api.call<Started>('POST', '/v1/sessions', { body: { resource_id: resource?.id, dpop_jkt: key.jkt } })
}

async function bind(
  started: Started,
  change: { token?: string; url?: string; proofKey?: typeof key; channels?: string[] } = {},
) {
  const url = change.url ?? directUrl(started)
  const token = change.token ?? started.data_plane.token
  const proof = await (change.proofKey ?? key).proof(token, url)
  return await wireBind(platform, { url, token, proof, ...(change.channels && { channels: change.channels }) })
}

async function end(started: Started): Promise<void> {
  await api.call('POST', `/v1/sessions/${started.session.id}/terminate`, { body: {} })
}

function refusal(outcome: BindOutcome): string {
  if (outcome.bound) {
    outcome.socket.terminate()
    return 'bound'
  }
  return outcome.reason
}

async function auditedCodes(sessionId: string): Promise<string[]> {
  const rows =
    await sql`select code from rap.audit_events where event = 'data_plane_bind_refused' and session_id = ${sessionId}`
  return rows.map(row => row.code)
}

t.test('a token binds once, and its replay is refused also after worker and Redis were restarted', async t => {
  const started = await start()
  const outcome = await bind(started)
  t.equal(outcome.bound, true)
  if (outcome.bound) outcome.socket.terminate()
  t.equal(refusal(await bind(started)), 'ERR_BIND_REFUSED')
  await platform.restartRedis?.()
  const worker = platform.workers.find(({ id }) => id === started.attachment.worker_id)
  await worker?.restart()
  t.equal(refusal(await bind(started)), 'ERR_BIND_REFUSED')
  await waitFor(async () => (await auditedCodes(started.session.id)).includes('ERR_BIND_TOKEN_REPLAYED'), {
    what: 'the audit',
  })
  await waitFor(
    async () => {
      const list = await api.call<{ items: { id: string; load: unknown }[] }>('GET', '/v1/workers')
      return list.items.filter(({ load }) => load !== null && load !== undefined).length === 2
    },
    { what: 'both workers', timeoutMs: 30_000 },
  )
})

t.test('each token that is wrong in one way is refused, and the audit says in which', async t => {
  const started = await start()
  t.teardown(() => end(started))
  const { token } = started.data_plane
  const { id: sessionId } = started.session
  const now = Math.floor(Date.now() / 1000)
  const another = crypto.randomUUID()
  const [user] = await sql`select id from rap.users limit 1`
  t.ok(user)
  const forged = (claims: Parameters<typeof bentToken>[2]) => bentToken(signingKey, token, claims)
  const cases: [string, string, string][] = [
    ['another worker', await forged({ claims: { worker_id: another } }), 'ERR_BIND_REFUSED'],
    ['another user', await forged({ claims: { sub: another } }), 'ERR_BIND_REFUSED'],
    ['another organization', await forged({ claims: { organization_id: another } }), 'ERR_BIND_REFUSED'],
    ['another resource', await forged({ claims: { resource_id: other?.id } }), 'ERR_BIND_REFUSED'],
    ['another session', await forged({ claims: { session_id: another } }), 'ERR_BIND_REFUSED'],
    ['expired', await forged({ claims: { iat: now - 120, nbf: now - 120, exp: now - 60 } }), 'ERR_BIND_TOKEN_EXPIRED'],
    ['too long a life', await forged({ claims: { exp: now + 3600 } }), 'ERR_BIND_REFUSED'],
    ['wrong typ', await forged({ header: { typ: 'rap-lease+jwt' } }), 'ERR_BIND_REFUSED'],
    ['wrong aud', await forged({ claims: { aud: 'rap-secret-resolver' } }), 'ERR_BIND_REFUSED'],
    ['wrong kid', await forged({ header: { kid: 'nobody' } }), 'ERR_BIND_REFUSED'],
    [
      'a key in the header',
      await forged({ header: { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' } } }),
      'ERR_BIND_REFUSED',
    ],
    [
      'no algorithm',
      `${Buffer.from('{"alg":"none","typ":"rap-dp+jwt"}').toString('base64url')}.${token.split('.')[1]}.AA`,
      'ERR_BIND_REFUSED',
    ],
  ]
  for (const [name, bent, expected] of cases) t.equal(refusal(await bind(started, { token: bent })), expected, name)
  const channels = await bind(started, { channels: ['display', 'clipboard_client_to_server'] })
  t.equal(refusal(channels), 'ERR_BIND_CHANNELS_NOT_ALLOWED')
  t.equal(
    refusal(await bind(started, { proofKey: await newClientKey() })),
    'ERR_BIND_REFUSED',
    'a stolen token without its key',
  )
  t.equal(refusal(await bind(started)), 'bound', 'the right token still binds')

  const wanted = [
    'ERR_BIND_WRONG_USER',
    'ERR_BIND_WRONG_RESOURCE',
    'ERR_BIND_CHANNELS_NOT_ALLOWED',
    'ERR_BIND_PROOF_INVALID',
  ]
  await waitFor(
    async () => {
      const codes = await auditedCodes(sessionId)
      return wanted.every(code => codes.includes(code))
    },
    { what: 'the refusals in the audit' },
  )
})

t.test('a token is worth nothing on the other worker', async t => {
  const started = await start()
  t.teardown(() => end(started))
  const elsewhere = platform.workers.find(({ id }) => id !== started.attachment.worker_id)
  t.equal(refusal(await bind(started, { url: elsewhere?.url ?? '' })), 'ERR_BIND_REFUSED')
})

t.test('a token of an attachment that was taken over never binds again', async t => {
  const first = await start()
  t.teardown(() => end(first))
  const second = await api.call<Started>('POST', `/v1/sessions/${first.session.id}/attachments`, {
    body: { dpop_jkt: key.jkt, takeover: true },
  })
  t.match(refusal(await bind(first)), /ERR_BIND_(ATTACHMENT_SUPERSEDED|REFUSED)/)
  await waitFor(async () => (await auditedCodes(first.session.id)).includes('ERR_BIND_ATTACHMENT_SUPERSEDED'), {
    what: 'the audit',
  })
  t.equal(refusal(await bind(second)), 'bound')
})

t.test('a live connection that is taken over is closed and told why', async t => {
  const first = await start()
  t.teardown(() => end(first))
  const outcome = await bind(first)
  if (!outcome.bound) throw new Error(outcome.reason)
  const closed = new Promise<string>(resolve =>
    outcome.socket.once('close', (_code, reason) => resolve(reason.toString())),
  )
  await api.call('POST', `/v1/sessions/${first.session.id}/attachments`, {
    body: { dpop_jkt: key.jkt, takeover: true },
  })
  t.equal(await closed, 'ERR_SESSION_TAKEN_OVER')
})

t.test('a token of a session that was terminated or has failed never binds', async t => {
  const terminated = await start()
  await end(terminated)
  t.equal(refusal(await bind(terminated)), 'ERR_BIND_SESSION_ENDED')
  // A session that failed at its logon has no token; one is forged, as by somebody who stole the signing key.
  const { body } = await api.send<{ code: string; session_id: string }>('POST', '/v1/sessions', {
    body: { resource_id: locked?.id, dpop_jkt: key.jkt },
  })
  t.equal(body.code, 'ERR_TARGET_LOGON_FAILED')
  const [attachment] =
    await sql`select id, worker_id from rap.session_attachments where session_id = ${body.session_id}`
  const place = { session_id: body.session_id, attachment_id: attachment?.id, worker_id: attachment?.worker_id }
  const url = platform.workers.find(({ id }) => id === attachment?.worker_id)?.url ?? ''
  const now = Math.floor(Date.now() / 1000)
  const token = await bentToken(signingKey, terminated.data_plane.token, {
    claims: { ...place, resource_id: locked?.id, iat: now, nbf: now, exp: now + 60 },
  })
  t.equal(refusal(await bind(terminated, { token, url })), 'ERR_BIND_SESSION_ENDED')
})

t.test('an RDCleanPath answer shows neither the address nor the certificate of the target', async t => {
  const started = await start()
  t.teardown(() => end(started))
  const url = directUrl(started)
  const { token } = started.data_plane
  const answer = await rdCleanPathBind(platform, {
    url,
    token,
    proof: await key.proof(token, url),
    destination: resource?.id ?? '',
  })
  const decoded = decodeRdCleanPathAnswer(answer)
  t.match(decoded, { type: 'response', serverAddr: 'rap' })
  t.notOk(answer.includes(`${desktop.port}`) || answer.includes('127.0.0.1:'), 'no address')
})

t.test(
  'an RDCleanPath request for another resource, or without a valid token, gets an error PDU that says little',
  async t => {
    const started = await start()
    t.teardown(() => end(started))
    const url = directUrl(started)
    const { token } = started.data_plane
    const proof = await key.proof(token, url)
    for (const destination of [other?.id ?? '', '127.0.0.1:3389', '']) {
      const answer = decodeRdCleanPathAnswer(await rdCleanPathBind(platform, { url, token, proof, destination }))
      t.match(answer, { type: 'error', httpStatusCode: 401 }, `destination ${destination}`)
    }
  },
)
