import { createServer as createTcpServer } from 'node:net'
import { parseProxyAuth } from '@rap/data-plane-protocol'
import { freePort, waitFor } from '@rap/testkit'
import { accessTokenHash } from '@rap/token-claims'
import { decodeJwt } from 'jose'
import t from 'tap'
import {
  allow_insecure_direct_data_plane_tls_for_smoke,
  createRapClient,
  type RapClientOptions,
  type Session,
} from '../src/index.ts'
import {
  authority,
  binds,
  type ControlPlaneScript,
  dataPlane,
  direct,
  gateway,
  RESOURCE_ID,
  SESSION_ID,
  scriptedControlPlane,
  serverCertificate,
  type Teardown,
} from './helper.ts'

const ca = await authority()
const tls = await serverCertificate(ca)
const strangerTls = await serverCertificate(await authority())

/** A started session of a client that trusts the platform CA. */
async function session(
  t: Teardown,
  script: ControlPlaneScript,
  options: Partial<RapClientOptions> = {},
): Promise<{ session: Session; controlPlane: Awaited<ReturnType<typeof scriptedControlPlane>> }> {
  const controlPlane = await scriptedControlPlane(t, script)
  const rap = createRapClient({
    baseUrl: controlPlane.origin,
    trust: { caPem: ca.certificatePem },
    ...options,
  })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  return { session: await rap.sessions.start({ resourceId: RESOURCE_ID }), controlPlane }
}

t.test('a start sends the key, an idempotency key and the display', async t => {
  const controlPlane = await scriptedControlPlane(t, { candidates: [] })
  const rap = createRapClient({ baseUrl: controlPlane.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const { id, attachment, record } = await rap.sessions.start({
    resourceId: RESOURCE_ID,
    display: { width: 1280, height: 800 },
    idempotencyKey: 'key-1',
  })
  const request = controlPlane.requests.at(-1)
  t.match(request?.body, { resource_id: RESOURCE_ID, dpop_jkt: /^[\w-]{43}$/, display: { width: 1280, height: 800 } })
  t.equal(request?.headers['idempotency-key'], 'key-1')
  t.match(
    { id, attachment, record },
    { id: SESSION_ID, attachment: { allowed_channels: ['display', 'input'] }, record: { state: 'ready' } },
  )
  t.notOk('a_newer_member' in record, 'what is not known is dropped')
})

t.test('a worker that answers with a trusted certificate is used directly', async t => {
  const worker = await dataPlane(t, tls, binds())
  const fallback = await dataPlane(t, tls, binds())
  const { session: started } = await session(t, { candidates: [direct(worker.url), gateway(fallback.url)] })
  const connection = await started.connect()
  t.equal(connection.path, 'direct')
  t.match(connection.bound, { session_id: SESSION_ID, runtime_transport: 'binary_v1' })
  t.same(
    connection.trace.steps.map(({ event }) => event),
    ['opened', 'bound'],
  )
  t.equal(fallback.connections.length, 0)
  t.equal(worker.upgrades[0]?.url, '/data-plane/v1', 'nothing is in the URL')
  const bind = JSON.parse(worker.texts[0] ?? '{}')
  t.match(bind, { type: 'bind', channels: ['display', 'input'], token: 'header.payload-1.signature' })
  t.match(decodeJwt(bind.proof), { htu: worker.url, htm: 'GET', ath: await accessTokenHash(bind.token) })
  t.same(await connection.close(), {
    code: 1000,
    reason: '',
    detail: 'The connection was closed.',
    remedy: undefined,
    orderly: true,
  })
})

t.test('where TLS or the network fails, the gateway is used, and TLS is never weakened', async t => {
  const silent = createTcpServer()
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const stranger = await dataPlane(t, strangerTls, binds())
  const worker = await dataPlane(t, tls, binds())
  const { port: silentPort } = silent.address() as { port: number }
  const wrongPath = await dataPlane(t, tls)
  const cases: [string, string, object][] = [
    ['an unknown authority', stranger.url, { reason: 'tls' }],
    ['another host name', worker.url.replace('127.0.0.1', '127.0.0.2'), { event: 'failed' }],
    [
      'a closed port',
      `wss://127.0.0.1:${await freePort()}/data-plane/v1`,
      { reason: 'network', system_code: 'ECONNREFUSED' },
    ],
    ['a worker that does not answer', `wss://127.0.0.1:${silentPort}/data-plane/v1`, { reason: 'timeout' }],
    ['a name that is not known', 'wss://worker.invalid/data-plane/v1', { reason: 'network' }],
    ['an upgrade that is refused', `${wrongPath.url}/other`, { reason: 'upgrade_refused' }],
  ]
  for (const [name, url, failed] of cases) {
    const fallback = await dataPlane(t, tls, binds())
    const candidates = [direct(url), gateway(fallback.url)]
    const { session: started } = await session(t, { candidates }, { timeouts: { openMs: 2000 } })
    const connection = await started.connect()
    t.equal(connection.path, 'gateway', name)
    t.match(
      connection.trace.steps,
      [{ url, event: 'failed', ...failed }, { event: 'opened' }, { event: 'bound' }],
      name,
    )
    t.match(
      decodeJwt(JSON.parse(fallback.texts[0] ?? '{}').proof),
      { htu: fallback.url },
      'the proof is for the gateway',
    )
    await connection.close()
  }
  t.equal(stranger.connections.length, 0)
  t.equal(stranger.texts.length, 0, 'a stranger never gets a token')
})

t.test('a worker of the platform must chain to the platform CA, not to any other authority', async t => {
  const worker = await dataPlane(t, strangerTls, binds())
  const fallback = await dataPlane(t, tls, binds())
  const { session: started } = await session(t, { candidates: [direct(worker.url), gateway(fallback.url)] })
  t.equal((await started.connect()).path, 'gateway')
})

t.test('the smoke bypass opens a smoke-only worker outside production, and nothing in production', async t => {
  const worker = await dataPlane(t, strangerTls, binds())
  const fallback = await dataPlane(t, tls, binds())
  const smoke = direct(worker.url, { smoke_only: true, production_trusted: false, tls_trust_mode: 'smoke_insecure' })
  const script = { candidates: [smoke, gateway(fallback.url)] }
  const bypass = { [allow_insecure_direct_data_plane_tls_for_smoke]: true }
  const paths: [Partial<RapClientOptions>, string][] = [
    [{ environment: 'smoke', ...bypass }, 'direct'],
    [{ environment: 'smoke' }, 'gateway'],
    [{ environment: 'production', ...bypass }, 'gateway'],
    [bypass, 'gateway'],
  ]
  for (const [options, path] of paths) {
    const { session: started } = await session(t, script, options)
    t.equal((await started.connect()).path, path, JSON.stringify(options))
  }
})

t.test('a refusal is final: it is told by its code, and no other path is tried', async t => {
  const worker = await dataPlane(t, tls, socket => {
    socket.once('message', () => {
      socket.send(
        '{"type":"closing","code":4410,"reason":"ERR_BIND_SESSION_ENDED","detail":"The session has ended.","remedy":"Start again."}',
      )
      socket.close(4410, 'ERR_BIND_SESSION_ENDED')
    })
  })
  const fallback = await dataPlane(t, tls, binds())
  const { session: started } = await session(t, { candidates: [direct(worker.url), gateway(fallback.url)] })
  await t.rejects(started.connect(), {
    code: 'ERR_BIND_SESSION_ENDED',
    closeCode: 4410,
    detail: 'The session has ended.',
    remedy: 'Start again.',
  })
  t.equal(fallback.connections.length, 0)
})

t.test('a bind that is lost is tried over the gateway with a fresh token', async t => {
  for (const [name, script] of [
    ['no answer', () => {}],
    [
      'torn',
      (socket: { once(event: 'message', run: () => void): void; terminate(): void }) =>
        socket.once('message', () => socket.terminate()),
    ],
  ] as const) {
    const worker = await dataPlane(t, tls, script as never)
    const fallback = await dataPlane(t, tls, binds())
    const candidates = [direct(worker.url), gateway(fallback.url)]
    const { session: started, controlPlane } = await session(t, { candidates }, { timeouts: { bindMs: 2000 } })
    const connection = await started.connect()
    t.equal(connection.path, 'gateway', name)
    t.equal(JSON.parse(worker.texts[0] ?? '{}').token, 'header.payload-1.signature')
    t.equal(JSON.parse(fallback.texts[0] ?? '{}').token, 'header.payload-2.signature', 'a token is in one bind only')
    t.equal(controlPlane.tokensMade(), 2)
  }
})

t.test('an answer that is none to a bind ends the attempt', async t => {
  for (const answer of [
    'not json',
    '{"type":"rdp","data":"AAAA"}',
    Buffer.from([1]),
    '{"type":"bound"}',
    JSON.stringify({
      type: 'bound',
      protocol_version: 1,
      session_id: 'x',
      attachment_id: 'x',
      allowed_channels: [],
      runtime_transport: 'json_v1',
    }),
  ]) {
    const worker = await dataPlane(t, tls, socket => socket.once('message', () => socket.send(answer)))
    const { session: started } = await session(t, { candidates: [direct(worker.url)] })
    await t.rejects(started.connect(), { code: 'ERR_DATA_PLANE_PROTOCOL' }, String(answer).slice(0, 30))
    await waitFor(() => worker.connections.every(({ readyState }) => readyState === 3), {
      what: 'the end of the socket',
    })
  }
})

t.test('no way at all is an error that says what became of each', async t => {
  const port = await freePort()
  const candidates = [direct(`wss://127.0.0.1:${port}/data-plane/v1`), gateway(`wss://127.0.0.1:${port}/data-plane/v1`)]
  const { session: started } = await session(t, { candidates })
  await t.rejects(started.connect(), {
    name: 'RapPathError',
    code: 'ERR_NO_PATH',
    trace: { steps: [{ event: 'failed' }, { event: 'failed' }] },
  })
})

t.test('a connect that is aborted ends at once', async t => {
  const worker = await dataPlane(t, tls)
  const { session: started } = await session(t, { candidates: [direct(worker.url)] }, { timeouts: { bindMs: 10_000 } })
  const controller = new AbortController()
  const connecting = started.connect({ signal: controller.signal })
  connecting.catch(() => {})
  await waitFor(() => worker.texts.length === 1, { what: 'bind' })
  controller.abort()
  await t.rejects(connecting, { code: 'ERR_ABORTED' })
  await t.rejects(started.connect({ signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
})

t.test('a target for the web component is chosen by a probe that sends nothing', async t => {
  const worker = await dataPlane(t, tls)
  const fallback = await dataPlane(t, tls)
  const script = { candidates: [direct(worker.url), gateway(fallback.url)] }
  const { session: started } = await session(t, script)
  const target = await started.rdCleanPath()
  t.match(target, { path: 'direct', proxyAddress: worker.url, destination: `rap-resource://${RESOURCE_ID}` })
  const { token, proof } = parseProxyAuth(target.authToken)
  t.match(decodeJwt(proof), { htu: worker.url, ath: await accessTokenHash(token) })
  t.same(worker.texts, [])
  await waitFor(() => worker.connections[0]?.readyState === 3, { what: 'the end of the probe' })
  t.same(
    target.trace.steps.map(({ event }) => event),
    ['probed', 'chosen'],
  )

  const again = await started.rdCleanPath({ path: 'gateway' })
  t.match(again, { path: 'gateway', proxyAddress: fallback.url })
  const second = parseProxyAuth(again.authToken)
  t.not(second.token, token, 'a token is handed out once')
  t.match(decodeJwt(second.proof), { htu: fallback.url })
})

t.test('a target for the web component goes over the gateway where the worker is not trusted', async t => {
  const worker = await dataPlane(t, strangerTls)
  const fallback = await dataPlane(t, tls)
  const { session: started } = await session(t, { candidates: [direct(worker.url), gateway(fallback.url)] })
  const target = await started.rdCleanPath()
  t.match(target, { path: 'gateway', proxyAddress: fallback.url })
  t.match(target.trace.steps, [{ event: 'failed', reason: 'tls' }, { event: 'chosen' }])
  t.match(target.trace.toString(), /direct_worker_wss .*: failed: tls/)
})

t.test('a token that is nearly over is replaced before it is used', async t => {
  const worker = await dataPlane(t, tls, binds())
  const script: ControlPlaneScript = { candidates: [direct(worker.url)], tokenSeconds: 10 }
  const { session: started, controlPlane } = await session(t, script)
  script.tokenSeconds = 60
  await started.connect()
  t.equal(JSON.parse(worker.texts[0] ?? '{}').token, 'header.payload-2.signature')
  t.ok(controlPlane.requests.some(({ path }) => path.endsWith('/data-plane-token')))
})

t.test('an attach brings a token of its own and uses the same key', async t => {
  const worker = await dataPlane(t, tls, binds())
  const { session: started, controlPlane } = await session(t, { candidates: [direct(worker.url)] })
  await started.attach({ takeover: true })
  const keys = controlPlane.requests.flatMap(({ body }) => (body as { dpop_jkt?: string } | undefined)?.dpop_jkt ?? [])
  t.equal(keys.length, 2)
  t.equal(keys[0], keys[1])
  await started.connect()
  t.equal(JSON.parse(worker.texts[0] ?? '{}').token, 'header.payload-2.signature')
  await started.detach()
  await started.terminate()
  t.same(
    controlPlane.requests.slice(-2).map(({ path }) => path),
    [`/v1/sessions/${SESSION_ID}/detach`, `/v1/sessions/${SESSION_ID}/terminate`],
  )
})
