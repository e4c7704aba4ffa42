import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { PROTOCOL } from '@rap/rdp'
import { subjectPublicKeyOf } from '@rap/rdp/credssp'
import { createLogger, createMetrics, InternalClient, internalAgent } from '@rap/service-kit'
import { TRUST_DOMAIN, waitFor } from '@rap/testkit'
import { keyLookupOfPem, verifyToken } from '@rap/token-claims'
import t from 'tap'
import { encodeTsRequest, tsRequestSize } from '../../../../packages/rdp/src/credssp/ts-request.ts'
import { ModelServer } from '../../../../packages/rdp/test/credssp/model-server.ts'
import { openAudit } from '../../src/control-plane/audit.ts'
import { ControlPlane } from '../../src/control-plane/client.ts'
import { Attachments } from '../../src/relays/attachments.ts'
import { Landing } from '../../src/relays/landing.ts'
import { Sessions } from '../../src/sessions/sessions.ts'
import { targetPolicyOf } from '../../src/target/address.ts'
import { UploadStores } from '../../src/uploads/stores.ts'
import { WorkerMetrics } from '../../src/worker-metrics.ts'
import { startDesktop } from '../desktop.ts'
import { problem } from '../peer.ts'
import { payloadOf } from '../resolver.ts'
import { assignmentFor, ISSUER, newPlace, nowSeconds } from '../signing.ts'
import { certificate, confirm, startTarget } from '../target/server.ts'
import { TestWorker } from '../worker.ts'

const worker = await TestWorker.start(t)
const desktop = await startDesktop(t)
const { controlPlane, resolver } = worker

t.beforeEach(() => {
  controlPlane.intercept = () => undefined
  resolver.intercept = () => undefined
})

async function hasLease(leaseId: string): Promise<boolean> {
  return (await worker.redis.exists(`rap:lease:${leaseId}`)) === 1
}

/** Everything that an attachment held is gone: target, lease, place. */
async function isGone(leaseId: string): Promise<void> {
  await waitFor(async () => !(await hasLease(leaseId)), { what: 'the end of the lease' })
  await waitFor(() => desktop.open() === 0, { what: 'the end of the target' })
  await waitFor(async () => (await worker.metric('rap_worker_sessions')) === 0, { what: 'a free place' })
}

t.test('a resolver that denies fails the session with words, and nothing is dialled', async t => {
  const dialled = desktop.connections.length
  resolver.intercept = () => problem(403, 'ERR_RESOLVE_DENIED')
  const place = await worker.order({ address: desktop.address })
  const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
  t.match(failure, { code: 'ERR_TARGET_CREDENTIALS_DENIED', title: String, detail: String, remedy: String })
  t.equal(desktop.connections.length, dialled)
  await isGone(place.leaseId)
})

t.test('a certificate that is refused fails the session, and the audit has the fingerprint', async t => {
  const place = await worker.order({ address: desktop.address, certificate_verification_mode: 'platform_ca' })
  const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
  t.match(failure, { code: 'ERR_TARGET_CERTIFICATE_UNTRUSTED' })
  const { details } = await controlPlane.auditedEvent('target_certificate_refused', 'ERR_TARGET_CERTIFICATE_UNTRUSTED')
  t.match(details, { fingerprint_sha256: /^[0-9a-f]{64}$/ })
  t.notMatch(JSON.stringify(failure), String(details?.fingerprint_sha256))
  await isGone(place.leaseId)
})

t.test('what a desktop shows is reported before the logon, and the control plane has the last word', async t => {
  const accepted = await worker.ready({ address: desktop.address })
  const report = controlPlane.certificates.find(({ attachment_id }) => attachment_id === accepted.attachment_id)
  t.match(report, { mode: 'insecure', certificates: [String], code: undefined })
  const { client } = await worker.bind(accepted)
  client.socket.terminate()
  await isGone(accepted.leaseId)
  for (const [judge, code] of [
    [() => 'ERR_TARGET_IDENTITY_CHANGED', 'ERR_TARGET_IDENTITY_CHANGED'],
    [() => 'ERR_TARGET_CERTIFICATE_REJECTED', 'ERR_TARGET_CERTIFICATE_REJECTED'],
    [() => 'ERR_OF_LATER_TIMES', 'ERR_TARGET_IDENTITY_UNAVAILABLE'],
  ] as const) {
    controlPlane.judge = judge
    const heard = desktop.secured().length
    const place = await worker.order({ address: desktop.address })
    const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
    t.match(failure, { code, title: String, remedy: String })
    await controlPlane.auditedEvent('target_certificate_refused', code)
    await isGone(place.leaseId)
    t.equal(desktop.secured().length, heard, `${code}: not a byte inside TLS`)
  }
  controlPlane.judge = ({ code }) => code ?? null
  for (const status of [404, 409, 503]) {
    controlPlane.intercept = ({ path }) =>
      path.endsWith('/target-certificate') ? problem(status, 'ERR_ATTACHMENT_STATE') : undefined
    const heard = desktop.secured().length
    const place = await worker.order({ address: desktop.address })
    const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
    t.match(failure, { code: 'ERR_TARGET_IDENTITY_UNAVAILABLE' })
    await isGone(place.leaseId)
    t.equal(desktop.secured().length, heard, `${status}: not a byte inside TLS`)
  }
})

t.test('an attachment that was ended while it was opened is closed in silence', async t => {
  // The control plane has given up on it, so that `ready` is refused.
  controlPlane.intercept = ({ path, body }) => {
    // In the very moment of the report, and not with a poll before it.
    if (path.endsWith('/state') && body.state === 'ready') {
      controlPlane.close(path.split('/').at(-2) ?? '', 'failed', 'ERR_SESSION_TERMINATED')
    }
    return undefined
  }
  const place = await worker.order({ address: desktop.address })
  await controlPlane.reported(place.attachment_id, 'ready')
  await isGone(place.leaseId)
  t.notOk(
    controlPlane.reports.some(report => report.attachment_id === place.attachment_id && report.state === 'failed'),
  )
  const line = await waitFor(
    () => worker.lines.find(text => text.includes(place.attachment_id) && text.includes('attachment_ended')),
    { what: 'the log line' },
  )
  t.match(JSON.parse(line), { reason: 'ERR_SESSION_TERMINATED' })
  t.notMatch(worker.lines.filter(text => text.includes(place.attachment_id)).join(''), /target_failed/)
})

t.test('a control plane that is away when the target is ready is waited for', async t => {
  let tries = 0
  controlPlane.intercept = ({ path, body }) => {
    if (!path.endsWith('/state') || body.state !== 'ready' || ++tries > 2) return undefined
    return problem(503, 'ERR_SHUTTING_DOWN')
  }
  const place = await worker.ready({ address: desktop.address })
  t.equal(tries, 3)
  const { client, outcome } = await worker.bind(place)
  t.equal(outcome, 'bound')
  client.socket.terminate()
  await isGone(place.leaseId)
})

t.test('a client that is faster than the answer to ready is let in', async t => {
  let release: () => void = () => {}
  controlPlane.intercept = async ({ path, body }) => {
    if (!path.endsWith('/state') || body.state !== 'ready') return undefined
    const id = path.split('/').at(-2) ?? ''
    controlPlane.states.set(id, { state: 'ready', reason: null })
    await new Promise<void>(resolve => {
      release = resolve
    })
    return { body: {} }
  }
  const place = await worker.order({ address: desktop.address })
  await waitFor(() => controlPlane.states.get(place.attachment_id)?.state === 'ready', { what: 'the report' })
  const { client, outcome } = await worker.bind(place)
  t.equal(outcome, 'bound')
  release()
  await client.rdp?.toActive()
  t.equal(client.end, undefined)
  client.socket.terminate()
  await isGone(place.leaseId)
})

t.test('an end while the credential is on its way leaves no credential and no connection', async t => {
  const dialled = desktop.connections.length
  let asked = 0
  let release: () => void = () => {}
  resolver.intercept = async () => {
    asked += 1
    await new Promise<void>(resolve => {
      release = resolve
    })
    return undefined
  }
  const place = await worker.order({ address: desktop.address })
  await waitFor(() => asked === 1, { what: 'the question' })
  controlPlane.close(place.attachment_id, 'closed', 'ERR_SESSION_TERMINATED')
  await worker.redis.publish(`rap:worker:${worker.id}:control`, JSON.stringify({ attachment_id: place.attachment_id }))
  await isGone(place.leaseId)
  release()
  await controlPlane.reported(place.attachment_id, 'closed')
  t.equal(desktop.connections.length, dialled)
})

t.test('an end while the target is silent ends the connection to it', async t => {
  const silent = await startTarget(t, {})
  const place = await worker.order({ address: silent.address })
  await waitFor(() => silent.open() === 1, { what: 'the connection' })
  controlPlane.close(place.attachment_id, 'superseded', null)
  await worker.redis.publish(`rap:worker:${worker.id}:control`, JSON.stringify({ attachment_id: place.attachment_id }))
  await waitFor(() => silent.open() === 0, { what: 'the end of the connection' })
  await isGone(place.leaseId)
})

t.test('a target that goes away while it waits ends its attachment', async t => {
  for (const leave of ['end', 'resetAndDestroy'] as const) {
    const place = await worker.ready({ address: desktop.address })
    desktop.connections.at(-1)?.[leave]()
    t.match(await controlPlane.reported(place.attachment_id, 'closed'), { reason: 'ERR_RELAY_TARGET_CLOSED' }, leave)
    await isGone(place.leaseId)
    t.match((await worker.bind(place)).outcome, { reason: 'ERR_BIND_SESSION_ENDED' })
  }
})

t.test('a target that speaks while it waits is no desktop, however much it says', async t => {
  for (const bytes of [Buffer.from('03', 'hex'), Buffer.from('220 mail.example ESMTP\r\n'), Buffer.alloc(4_000_000)]) {
    const at = desktop.sessions.length
    const place = await worker.ready({ address: desktop.address })
    ;(await desktop.session(at)).send(bytes)
    const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
    t.match(failure, { code: 'ERR_TARGET_PROTOCOL' })
    await isGone(place.leaseId)
  }
})

t.test('a target that refuses the password after the logon says why', async t => {
  const shown = await certificate()
  const { raw } = new X509Certificate(shown.certificatePem)
  const model = new ModelServer({ publicKey: subjectPublicKeyOf(raw) })
  resolver.payload = payloadOf('svc', 'Str0ng Pässword')
  const target = await startTarget(t, {
    answer: confirm(PROTOCOL.HYBRID),
    certificate: shown,
    onSecure: secure => {
      let buffered = Buffer.alloc(0)
      secure.on('data', async chunk => {
        buffered = Buffer.concat([buffered, chunk])
        const size = tsRequestSize(buffered)
        if (size === undefined || size > buffered.length) return
        const answer = model.receive(buffered.subarray(0, size))
        buffered = buffered.subarray(size)
        if (answer !== undefined) secure.write(answer)
        else {
          await waitFor(
            () =>
              controlPlane.reports.some(({ state, attachment_id }) => state === 'ready' && attachment_id === waiting),
            { what: 'the report' },
          )
          secure.write(encodeTsRequest({ version: 6, errorCode: 0xc0000224 }))
        }
      })
    },
  })
  const place = await worker.order({
    address: target.address,
    security: 'nla',
    certificate_verification_mode: 'pinned',
    certificate_pins: [createHash('sha256').update(raw).digest('hex')],
  })
  const waiting = place.attachment_id
  const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
  t.match(failure, { code: 'ERR_TARGET_PASSWORD_MUST_CHANGE', detail: /0xc0000224/ })
  resolver.payload = payloadOf('svc', 'secret')
})

t.test('an order that comes twice, or beyond the room of the worker, starts nothing', async t => {
  const small = await TestWorker.start(t, { env: { RDP_WORKER_MAX_SESSIONS: '1' } })
  await small.ready({ address: desktop.address })
  const second = await small.order({ address: desktop.address })
  const { failure } = await small.controlPlane.reported(second.attachment_id, 'failed')
  t.match(failure, { code: 'ERR_WORKER_FULL' })
  t.equal(await small.metric('rap_worker_sessions'), 1)
})

t.test('a desktop that nobody comes to is closed after a while', async t => {
  const quick = await TestWorker.start(t, { times: { warmMs: 200 } })
  const place = await quick.ready({ address: desktop.address })
  t.match(await quick.controlPlane.reported(place.attachment_id, 'closed'), { reason: 'ERR_SESSION_DETACHED' })
  // Given up beside the report.
  await waitFor(async () => (await quick.redis.exists(`rap:lease:${place.leaseId}`)) === 0, {
    what: 'the end of the lease',
  })
})

t.test('a client that is let in and says nothing keeps no desktop', async t => {
  const quick = await TestWorker.start(t, { times: { handshakeTimeoutMs: 200 } })
  const place = await quick.ready({ address: desktop.address })
  const { client, outcome } = await quick.bind(place)
  t.equal(outcome, 'bound')
  t.same(await client.closed, { code: 4422, reason: 'ERR_RELAY_CLIENT_PROTOCOL' })
})

t.test('a desktop that is up goes on beyond the time that a client has to bring it up', async t => {
  /** Answers false where this machine does not bring a desktop up in time. */
  const goesOn = async (handshakeTimeoutMs: number): Promise<boolean> => {
    const quick = await TestWorker.start(t, { times: { handshakeTimeoutMs } })
    const up = await quick.desktop({ address: desktop.address }).catch(() => undefined)
    if (up === undefined) return false
    const until = performance.now() + 2 * handshakeTimeoutMs
    await waitFor(() => performance.now() > until, { what: 'twice the time' })
    t.equal(up.client.end, undefined)
    return true
  }
  t.ok((await goesOn(250)) || (await goesOn(2000)) || (await goesOn(10_000)))
})

t.test('what the control plane ends is ended here, with its reason', async t => {
  for (const [state, reason, end] of [
    ['superseded', null, { code: 4002, reason: 'ERR_SESSION_TAKEN_OVER' }],
    ['closed', 'ERR_SESSION_DETACHED', { code: 4000, reason: 'ERR_SESSION_DETACHED' }],
    ['failed', 'ERR_SESSION_LEASE_LOST', { code: 4003, reason: 'ERR_SESSION_LEASE_LOST' }],
  ] as const) {
    const { client, place } = await worker.desktop({ address: desktop.address })
    controlPlane.close(place.attachment_id, state, reason)
    await worker.redis.publish(
      `rap:worker:${worker.id}:control`,
      JSON.stringify({ attachment_id: place.attachment_id }),
    )
    t.same(await client.closed, end)
    t.match(client.texts.at(-1), { type: 'closing', ...end })
  }
})

t.test('a lease that somebody else has ends the desktop', async t => {
  const quick = await TestWorker.start(t, { times: { leaseMs: 300 } })
  const { client, place } = await quick.desktop({ address: desktop.address })
  await quick.redis.set(`rap:lease:${place.leaseId}`, '{"worker_id":"another"}')
  t.same(await client.closed, { code: 4003, reason: 'ERR_SESSION_LEASE_LOST' })
  t.match(await quick.controlPlane.reported(place.attachment_id, 'closed'), { reason: 'ERR_SESSION_LEASE_LOST' })
  t.equal(await quick.redis.get(`rap:lease:${place.leaseId}`), '{"worker_id":"another"}', 'which is left to them')
})

t.test('a fault of the worker itself fails one session with words, and says the rest to the log', async t => {
  const { cert, key } = { cert: readFileSync(worker.files.certFile), key: readFileSync(worker.files.keyFile) }
  const clientOf = (service: string, baseUrl: string): InternalClient => {
    const agent = internalAgent({
      cert,
      key,
      ca: worker.authority.certificatePem,
      trustDomain: TRUST_DOMAIN,
      expectedIdentity: `service/${service}`,
    })
    t.teardown(() => agent.destroy())
    return new InternalClient({ baseUrl, agent, logger })
  }
  const lines: string[] = []
  const logger = createLogger({ service: 'rdp-worker', destination: { write: line => lines.push(line) } })
  const metrics = createMetrics({ service: 'rdp-worker' })
  const caller = new ControlPlane(clientOf('control-plane', controlPlane.peer.url))
  const resolverClient = clientOf('secret-resolver', resolver.peer.url)
  const stores = await UploadStores.open({
    dir: undefined,
    workerId: worker.id,
    maxBytes: 0,
    reserveBytes: 0,
    logger,
  })
  t.teardown(() => stores.wipeAll())
  const attachments = new Attachments({
    controlPlane: caller,
    audit: openAudit({ controlPlane: caller, logger, metrics }),
    resolverFor: () => resolverClient,
    leases: { hold: () => undefined, release: async () => undefined },
    targetPolicy: targetPolicyOf(['127.0.0.0/8']),
    platformCa: () => {
      throw new Error('broken disk')
    },
    production: true,
    credSspMinimumVersion: 5,
    maxSessions: 1,
    sessions: new Sessions(stores),
    landing: new Landing(),
    metrics: new WorkerMetrics(metrics),
    logger,
  })
  const place = newPlace(worker.id)
  controlPlane.states.set(place.attachment_id, { state: 'assigning', reason: null })
  const { jws } = await assignmentFor(worker.signing, place, {
    protocol: 'rdp',
    address: desktop.address,
    certificate_verification_mode: 'platform_ca',
    security: 'auto',
    render_quality_profile: 'balanced',
  })
  const keys = await keyLookupOfPem(worker.signing.publicPem)
  await attachments.open(await verifyToken('assignment', jws, { keys, issuer: ISSUER, nowSeconds: nowSeconds() }))
  const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
  t.match(failure, { code: 'ERR_WORKER_INTERNAL' })
  t.notMatch(JSON.stringify(failure), /broken disk/)
  t.match(lines.join(''), /broken disk/)
  t.equal(attachments.size, 0)
})

t.test('an account that fits no Client Info PDU ends in words and not in the worker', async t => {
  // The resolver would not have stored it.
  for (const payload of [payloadOf('u'.repeat(256), 'pw'), payloadOf('u', 'x'.repeat(256)), payloadOf('', 'pw')]) {
    resolver.payload = payload
    const place = await worker.order({ address: desktop.address })
    const { failure } = await controlPlane.reported(place.attachment_id, 'failed')
    t.match(failure, { code: 'ERR_TARGET_CREDENTIALS_UNAVAILABLE' })
  }
  resolver.payload = payloadOf('svc', 'secret')
})
