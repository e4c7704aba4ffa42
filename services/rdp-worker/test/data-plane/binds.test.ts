import { randomUUID } from 'node:crypto'
import { decodeRdCleanPathAnswer } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import { SignJWT } from 'jose'
import t from 'tap'
import { type BindMessage, rdCleanPathRequest } from '../client.ts'
import type { Audited } from '../control-plane.ts'
import { startDesktop } from '../desktop.ts'
import { problem } from '../peer.ts'
import { ClientKey, ISSUER, newPlace, nowSeconds, type Place, signingSet } from '../signing.ts'
import { TestWorker } from '../worker.ts'

const worker = await TestWorker.start(t)
const desktop = await startDesktop(t)
const forger = await signingSet()
const thief = await ClientKey.make()
const REFUSED = { code: 4401, reason: 'ERR_BIND_REFUSED' }

t.beforeEach(() => {
  worker.controlPlane.intercept = () => undefined
})

async function attempt(message: BindMessage) {
  const client = await worker.connect()
  return { client, outcome: await client.bind(message) }
}

/** The precise code of the last refused bind, as the log has it. */
function lastRefusal(): string | undefined {
  const line = worker.lines.findLast(text => text.includes('data_plane_bind_refused'))
  return line === undefined ? undefined : JSON.parse(line).code
}

const place = await worker.ready({ address: desktop.address })

t.test('who has no valid token and proof learns nothing but a refusal, and the log has the reason', async t => {
  const { key, signing, url } = worker
  const good = await worker.credentials(place)
  const bent = async (claims: object, header: object = {}): Promise<BindMessage> => {
    const payload = JSON.parse(Buffer.from(good.token.split('.')[1] ?? '', 'base64url').toString())
    const token = await new SignJWT({ ...payload, ...claims })
      .setProtectedHeader({ alg: 'RS256', typ: 'rap-dp+jwt', kid: signing.key.kid, ...header })
      .sign(signing.key.privateKey)
    return { token, proof: await key.proof(token, url) }
  }
  const now = nowSeconds()
  const forged = await key.token(forger, place)
  const forgedUnderOurName = await key.token({ ...forger, key: { ...forger.key, kid: signing.key.kid } }, place)
  const mine = await thief.token(signing, place)
  const expired = await key.token(signing, place, { ageSeconds: 120 })
  const attacks: readonly (readonly [string, BindMessage, string])[] = [
    ['text', { token: 'a.b.c', proof: 'd.e.f' }, 'ERR_BIND_TOKEN_INVALID'],
    ['another key', { token: forged, proof: await key.proof(forged, url) }, 'ERR_BIND_TOKEN_INVALID'],
    [
      'another key under our name',
      { token: forgedUnderOurName, proof: await key.proof(forgedUnderOurName, url) },
      'ERR_BIND_TOKEN_INVALID',
    ],
    ['another type', await bent({}, { typ: 'rap-lease+jwt' }), 'ERR_BIND_TOKEN_INVALID'],
    ['another audience', await bent({ aud: 'rap-secret-resolver' }), 'ERR_BIND_TOKEN_INVALID'],
    ['another issuer', await bent({ iss: 'https://evil.example' }), 'ERR_BIND_TOKEN_INVALID'],
    ['a key in the header', await bent({}, { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' } }), 'ERR_BIND_TOKEN_INVALID'],
    ['too long a life', await bent({ exp: now + 3600 }), 'ERR_BIND_TOKEN_INVALID'],
    ['not valid yet', await bent({ iat: now + 60, nbf: now + 60, exp: now + 90 }), 'ERR_BIND_TOKEN_INVALID'],
    ['more claims', await bent({ admin: true }), 'ERR_BIND_TOKEN_INVALID'],
    [
      'expired, and the key of somebody else',
      { token: expired, proof: await thief.proof(expired, url) },
      'ERR_BIND_PROOF_INVALID',
    ],
    ['a stolen token', { token: good.token, proof: await thief.proof(good.token, url) }, 'ERR_BIND_PROOF_INVALID'],
    ['a proof for another token', { token: good.token, proof: await key.proof(mine, url) }, 'ERR_BIND_PROOF_INVALID'],
    [
      'a proof for another place',
      { token: good.token, proof: await key.proof(good.token, 'wss://evil.example/data-plane/v1') },
      'ERR_BIND_PROOF_INVALID',
    ],
    [
      'an old proof',
      { token: good.token, proof: await key.proof(good.token, url, { ageSeconds: 61 }) },
      'ERR_BIND_PROOF_INVALID',
    ],
    ['the token as its own proof', { token: good.token, proof: good.token.slice(0, 2048) }, 'ERR_BIND_PROOF_INVALID'],
    ['for another worker', await bent({ worker_id: randomUUID() }), 'ERR_BIND_WRONG_WORKER'],
  ]
  for (const [name, message, code] of attacks) {
    const { client, outcome } = await attempt(message)
    t.same(outcome, REFUSED, name)
    t.same(client.texts, [{ type: 'closing', ...REFUSED, detail: 'The connection was refused.' }], name)
    t.equal(lastRefusal(), code, name)
  }
  t.equal(worker.controlPlane.binds.length, 0, 'the control plane is not asked about them')
  t.equal((await attempt(good)).outcome, 'bound', 'and the right client still gets in')
})

t.test('the owner of an expired token is told to get a new one', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  const { client, outcome } = await attempt(await worker.credentials(ordered, { ageSeconds: 120 }))
  t.match(outcome, { reason: 'ERR_BIND_TOKEN_EXPIRED' })
  t.match(client.texts, [{ type: 'closing', code: 4401, reason: 'ERR_BIND_TOKEN_EXPIRED', detail: String }])
  t.match(await worker.controlPlane.auditedEvent('data_plane_bind_refused', 'ERR_BIND_TOKEN_EXPIRED'), {
    session_id: ordered.session_id,
    attachment_id: ordered.attachment_id,
  })
  t.equal((await worker.bind(ordered)).outcome, 'bound')
})

t.test('channels beyond the token are refused here, and what the control plane refuses is refused', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  t.match((await worker.bind(ordered, { channels: ['display', 'file_upload'] })).outcome, {
    reason: 'ERR_BIND_CHANNELS_NOT_ALLOWED',
  })
  t.match((await worker.bind(ordered, { channels: ['no such channel'] })).outcome, {
    reason: 'ERR_BIND_CHANNELS_NOT_ALLOWED',
  })
  for (const [answer, told] of [
    [problem(403, 'ERR_BIND_ATTACHMENT_SUPERSEDED'), 'ERR_BIND_ATTACHMENT_SUPERSEDED'],
    [problem(403, 'ERR_BIND_SESSION_ENDED'), 'ERR_BIND_SESSION_ENDED'],
    [problem(403, 'ERR_BIND_CHANNELS_NOT_ALLOWED'), 'ERR_BIND_CHANNELS_NOT_ALLOWED'],
    [problem(403, 'ERR_BIND_TOKEN_REPLAYED'), 'ERR_BIND_REFUSED'],
    [problem(403, 'ERR_BIND_WRONG_USER'), 'ERR_BIND_REFUSED'],
    [problem(403, 'ERR_BIND_WRONG_ORGANIZATION'), 'ERR_BIND_REFUSED'],
    [problem(500, 'ERR_INTERNAL'), 'ERR_BIND_UNAVAILABLE'],
    [problem(403, 'ERR_SESSION_TERMINATED'), 'ERR_BIND_UNAVAILABLE'],
    [problem(403, 'ERR_NEVER_HEARD_OF'), 'ERR_BIND_UNAVAILABLE'],
    [{ status: 500, body: 'text' }, 'ERR_BIND_UNAVAILABLE'],
    [{ status: 204 }, 'ERR_BIND_UNAVAILABLE'],
  ] as const) {
    worker.controlPlane.intercept = ({ path }) => (path.endsWith('/binds') ? answer : undefined)
    t.match((await worker.bind(ordered)).outcome, { reason: told })
  }
  worker.controlPlane.intercept = () => undefined
  t.equal((await worker.bind(ordered)).outcome, 'bound', 'the desktop has waited')
})

t.test('without a control plane nobody is let in', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  await worker.controlPlane.peer.stop()
  t.match((await worker.bind(ordered)).outcome, { code: 4503, reason: 'ERR_BIND_UNAVAILABLE' })
  await worker.controlPlane.peer.start()
  t.equal((await worker.bind(ordered)).outcome, 'bound')
})

t.test('a token binds once, also while its first bind lives', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  const credentials = await worker.credentials(ordered)
  const first = await attempt(credentials)
  t.equal(first.outcome, 'bound')
  t.same((await attempt(credentials)).outcome, REFUSED)
  t.equal(first.client.end, undefined, 'the first one goes on')
})

t.test('of two clients at the same moment one is let in, and the other has spent nothing', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  const [one, two] = [await worker.credentials(ordered), await worker.credentials(ordered)]
  let waiting = 0
  worker.controlPlane.intercept = async ({ path }) => {
    if (path.endsWith('/binds')) {
      waiting += 1
      await waitFor(() => second !== undefined, { what: 'the second client' })
    }
    return undefined
  }
  let second: unknown
  const first = attempt(one)
  await waitFor(() => waiting === 1, { what: 'the first client' })
  second = (await attempt(two)).outcome
  t.match(second, { reason: 'ERR_BIND_UNAVAILABLE' })
  t.equal((await first).outcome, 'bound')
  t.equal(waiting, 1, 'the control plane was asked once')
})

t.test('a client that leaves while it is let in ends the attachment', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  let asked = false
  let answer: () => void = () => {}
  worker.controlPlane.intercept = async ({ path }) => {
    if (!path.endsWith('/binds')) return undefined
    asked = true
    await new Promise<void>(resolve => {
      answer = resolve
    })
    return undefined
  }
  const client = await worker.connect()
  const bind = client.bind(await worker.credentials(ordered))
  await waitFor(() => asked, { what: 'the bind' })
  client.socket.terminate()
  await bind
  await waitFor(async () => (await worker.metric('rap_worker_unbound_connections')) === 0, { what: 'the close' })
  answer()
  t.match(await worker.controlPlane.reported(ordered.attachment_id, 'closed'), { reason: 'client_closed' })
})

t.test('a bind whose answer is lost does not leave the attachment to nobody', async t => {
  const quick = await TestWorker.start(t, { times: { pollMs: 100 } })
  const ordered = await quick.ready({ address: desktop.address })
  quick.controlPlane.intercept = ({ path }) => {
    if (!path.endsWith('/binds')) return undefined
    // Granted and written down, and then the connection breaks.
    quick.controlPlane.close(ordered.attachment_id, 'active', null)
    return { status: 500, body: 'broken' }
  }
  t.match((await quick.bind(ordered)).outcome, { reason: 'ERR_BIND_UNAVAILABLE' })
  t.match(await quick.controlPlane.reported(ordered.attachment_id, 'closed'), { reason: 'ERR_BIND_UNAVAILABLE' })
})

t.test('a bind that is granted for an attachment of an earlier life is given back', async t => {
  const gone: Place = newPlace(worker.id)
  worker.controlPlane.states.set(gone.attachment_id, { state: 'ready', reason: null })
  t.match((await worker.bind(gone)).outcome, { reason: 'ERR_BIND_UNAVAILABLE' })
  t.match(await worker.controlPlane.reported(gone.attachment_id, 'closed'), { reason: 'ERR_BIND_UNAVAILABLE' })
})

t.test('a proof for the gateway counts where the order names it, and nowhere else', async t => {
  const gateway = 'wss://gateway.example/data-plane/v1'
  const named = await worker.ready({ address: desktop.address }, { bind_urls: [worker.url, gateway] })
  const unnamed = await worker.ready({ address: desktop.address })
  for (const [ordered, outcome] of [
    [named, 'bound'],
    [unnamed, REFUSED],
  ] as const) {
    const { token } = await worker.credentials(ordered)
    t.same((await attempt({ token, proof: await worker.key.proof(token, gateway) })).outcome, outcome)
  }
})

t.test('the owner of a session that is over learns so through the gateway too, once it has been named', async t => {
  const gateway = 'wss://gateway.example/data-plane/v1'
  const behind = await TestWorker.start(t, {
    prepare: controlPlane => {
      controlPlane.gatewayUrl = gateway
    },
  })
  const gone = newPlace(behind.id)
  behind.controlPlane.close(gone.attachment_id, 'closed', null)
  const { token } = await behind.credentials(gone)
  const client = await behind.connect()
  t.match(await client.bind({ token, proof: await behind.key.proof(token, gateway) }), {
    reason: 'ERR_BIND_SESSION_ENDED',
  })
})

t.test('an RDCleanPath client names the resource of its token, and is told of a refusal by status', async t => {
  const ordered = await worker.ready({ address: desktop.address })
  const bind = async (destination: string, changes: object = {}) => {
    const client = await worker.connect()
    const request = rdCleanPathRequest({ ...(await worker.credentials(ordered)), destination, ...changes })
    client.socket.send(request)
    const end = await client.closed
    return { answer: decodeRdCleanPathAnswer(client.binaries[0] ?? Buffer.alloc(0)), end }
  }
  for (const destination of [
    randomUUID(),
    `rap-resource://${randomUUID()}`,
    '',
    desktop.address,
    ordered.resource_id.toUpperCase(),
  ]) {
    const { answer, end } = await bind(destination)
    t.match(answer, { type: 'error', httpStatusCode: 401 }, destination)
    t.same(end, REFUSED)
  }
  t.match(await worker.controlPlane.auditedEvent('data_plane_bind_refused', 'ERR_BIND_WRONG_RESOURCE'), {
    session_id: ordered.session_id,
  })
  t.match((await bind(ordered.resource_id, { token: 'a.b.c' })).answer, { type: 'error', httpStatusCode: 401 })
  for (const [code, status] of [
    ['ERR_BIND_SESSION_ENDED', 410],
    ['ERR_BIND_ATTACHMENT_SUPERSEDED', 409],
    ['ERR_BIND_CHANNELS_NOT_ALLOWED', 403],
    ['ERR_BIND_UNAVAILABLE', 503],
  ] as const) {
    worker.controlPlane.intercept = ({ path }) => (path.endsWith('/binds') ? problem(403, code) : undefined)
    const { answer, end } = await bind(ordered.resource_id)
    t.match(answer, { type: 'error', httpStatusCode: status }, code)
    t.equal(end.reason, code)
  }
})

t.test('no log line holds a token or a proof', async t => {
  const { token, proof } = await worker.credentials(place)
  await attempt({ token, proof })
  const log = worker.lines.join('')
  t.notMatch(log, token)
  t.notMatch(log, proof)
  t.notMatch(log, ISSUER)
})

/** What the rows of the audit stand for. */
function standFor(rows: readonly Audited[]): number {
  return rows.reduce((sum, { details }) => sum + 1 + Number(details?.suppressed_count ?? 0), 0)
}

t.test('a flood of strangers is a few rows with its exact number, and hides nobody who has stolen a token', async t => {
  const flooded = await TestWorker.start(t)
  const { audited } = flooded.controlPlane
  const knock = async () => {
    const stranger = await flooded.connect()
    t.same(await stranger.bind({ token: 'a.b.c', proof: 'd.e.f' }), REFUSED)
  }
  const beganAtMs = performance.now()
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 60 }, knock))

  const place = await flooded.ready({ address: desktop.address })
  const { token } = await flooded.credentials(place)
  const client = await flooded.connect()
  t.same(await client.bind({ token, proof: await thief.proof(token, flooded.url) }), REFUSED)
  t.match(await flooded.controlPlane.auditedEvent('data_plane_bind_refused', 'ERR_BIND_PROOF_INVALID'), {
    session_id: place.session_id,
    attachment_id: place.attachment_id,
    details: { client_address: '127.0.0.1', runtime_transport: 'binary_v1', cause: 'ERR_PROOF_KEY_MISMATCH' },
  })
  await flooded.drain()
  const strangers = audited.filter(({ code }) => code === 'ERR_BIND_TOKEN_INVALID')
  t.equal(standFor(strangers), 300)
  // Windows of ten seconds.
  const windows = 1 + Math.ceil((performance.now() - beganAtMs) / 10_000)
  t.ok(strangers.length <= 5 * windows, `${strangers.length} rows`)
  t.notOk(audited.some(({ details }) => JSON.stringify(details).includes('a.b.c')))
  t.match(
    await flooded.metrics.registry.metrics(),
    /rap_audit_refusals_total\{event="data_plane_bind_refused",standing="stranger",.*\} 300/,
  )
})

t.test('refusals that the control plane does not take now are reported when it does', async t => {
  const flooded = await TestWorker.start(t, { times: { auditWindowMs: 50 } })
  const { controlPlane } = flooded
  const audits = ({ path }: { path: string }) => path.endsWith('/audit-events')
  controlPlane.intercept = call => (audits(call) ? problem(429, 'ERR_RATE_LIMITED') : undefined)
  for (let number = 0; number < 10; number++) {
    const stranger = await flooded.connect()
    t.same(await stranger.bind({ token: 'a.b.c', proof: 'd.e.f' }), REFUSED)
  }
  t.equal(controlPlane.audited.length, 0)
  controlPlane.intercept = () => undefined
  await waitFor(() => standFor(controlPlane.audited) === 10, { what: 'all refusals' })
})

t.test('a refusal of an attachment that the control plane does not know is audited without it', async t => {
  const other = await TestWorker.start(t)
  const { controlPlane } = other
  const unknown = newPlace(other.id)
  const { token } = await other.credentials(unknown)
  const refused: unknown[] = []
  controlPlane.intercept = ({ path, body }) => {
    if (!path.endsWith('/audit-events') || !('attachment_id' in (body as object))) return undefined
    refused.push(body)
    return problem(404, 'ERR_NOT_FOUND')
  }
  const client = await other.connect()
  t.same(await client.bind({ token, proof: await thief.proof(token, other.url) }), REFUSED)
  const event = await controlPlane.auditedEvent('data_plane_bind_refused', 'ERR_BIND_PROOF_INVALID')
  t.match(event, { details: { attachment_unknown: true, client_address: '127.0.0.1' } })
  t.notOk('session_id' in event)
  t.equal(refused.length, 1)
})
