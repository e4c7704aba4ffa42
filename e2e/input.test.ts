import { existsSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { issueCertificate, spiffeId } from '@rap/pki'
import { startPlatform, startShadow, TRUST_DOMAIN, targetOf, waitFor } from '@rap/testkit'
import t from 'tap'
import type { WebSocket } from 'ws'
import { endSession, openDesktop, typeUntil } from './desktop.ts'
import { BROKEN_FRAMES, BROKEN_HTTP, bent, bentBodies } from './mutants.ts'
import { RdpClient } from './rdp-client.ts'
import { directUrl, newClientKey, openSocket, rdCleanPathRequest, type Started, wireBind } from './wire-client.ts'

const shadow = await startShadow({ username: 'svc', password: 'input-Pa55', security: 'nla' })
t.teardown(() => shadow.stop())
const credential = { username: 'svc', password: 'input-Pa55' }
const platform = await startPlatform({ targets: [targetOf(shadow, { name: 'desktop', credential, security: 'nla' })] })
t.teardown(() => platform.stop())
const { api, authority, apiUrl, internalUrl, resolverUrl, gatewayUrl = '', workers } = platform
const resource = platform.resources[0]
const worker = workers[0]
const key = await newClientKey()
const services = [platform.controlPlane, platform.secretResolver, platform.gateway, ...workers]
const accessToken = await api.login(platform.admin.email, platform.admin.password)

const live = await openDesktop(platform, { resourceId: resource?.id ?? '', key })
t.teardown(() => live.socket.terminate())
let witness = 0

t.afterEach(async t => {
  const name = `witness-${witness++}`
  await typeUntil(live, `touch ${name}`, () => existsSync(join(shadow.home, name)), {
    what: 'what was typed',
    timeoutMs: 30_000,
  })
  for (const service of services) {
    const health = service?.log().match(/"health_url":"([^"]+)"/)?.[1]
    // A service that has just been flooded may miss a look at what it needs.
    await waitFor(async () => (await fetch(`${health}/readyz`)).status === 200, {
      what: `${service?.name} to be ready after: ${t.name}`,
    })
    if (/uncaught_exception|unhandled_rejection/.test(service?.log() ?? ''))
      throw new Error(`${service?.name} had an unhandled error`)
  }
})

/** A certificate of the platform for a client of an internal listener. */
async function clientOf(kind: 'service' | 'worker', id: string): Promise<{ cert: string; key: string }> {
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: id,
    uris: [spiffeId(TRUST_DOMAIN, kind, id)],
    usages: ['client'],
    now: new Date(),
  })
  return { cert: certificatePem, key: keyPem }
}

interface Route {
  readonly method: string
  readonly url: string
  readonly body: Record<string, unknown>
  readonly agent: Agent
}

function send({ method, url, agent }: Route, body: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${accessToken}`,
      'content-type': 'application/json',
      'content-length': body.length,
    }
    const outgoing = request(url, { method, agent, headers }, incoming => {
      incoming.resume().once('end', () => resolve(incoming.statusCode ?? 0))
    })
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}

t.test('no body of any route, however it is bent, is answered with an error of the server', async t => {
  const ca = authority.certificatePem
  const agent = new Agent({ ca, keepAlive: true, maxSockets: 8 })
  const asWorker = new Agent({ ca, keepAlive: true, maxSockets: 8, ...(await clientOf('worker', worker?.id ?? '')) })
  const asControlPlane = new Agent({
    ca,
    keepAlive: true,
    maxSockets: 8,
    ...(await clientOf('service', 'control-plane')),
  })
  t.teardown(() => {
    for (const each of [agent, asWorker, asControlPlane]) each.destroy()
  })
  const { id = '', organization_id = '' } = resource ?? {}
  const nowhere = crypto.randomUUID()
  const { started } = live
  const sealed = 'eyJ9.e30.e30.e30.e30'
  const routes: Route[] = [
    { method: 'POST', url: `${apiUrl}/v1/auth/login`, body: { email: 'nobody@rap.example', password: 'x' }, agent },
    { method: 'POST', url: `${apiUrl}/v1/auth/refresh`, body: { refresh_token: 'rap_rt_x' }, agent },
    {
      method: 'POST',
      url: `${apiUrl}/v1/resources`,
      body: { name: 'n', protocol: 'rdp', address: 'h:1', organization_id, metadata: {} },
      agent,
    },
    {
      method: 'PATCH',
      url: `${apiUrl}/v1/resources/${nowhere}`,
      body: { name: 'n', labels: {}, metadata: { security: 'nla' } },
      agent,
    },
    { method: 'PUT', url: `${apiUrl}/v1/resources/${id}/secret`, body: { sealed, expected_version: 7 }, agent },
    {
      method: 'POST',
      url: `${apiUrl}/v1/sessions`,
      body: { resource_id: nowhere, dpop_jkt: key.jkt, display: { width: 1, height: 1 } },
      agent,
    },
    {
      method: 'POST',
      url: `${apiUrl}/v1/sessions/${nowhere}/attachments`,
      body: { dpop_jkt: key.jkt, takeover: true },
      agent,
    },
    {
      method: 'POST',
      url: `${internalUrl}/internal/v1/binds`,
      body: {
        token: 'x',
        proof_jti: 'x',
        runtime_transport: 'json_v1',
        requested_channels: ['display'],
        client_address: '::1',
      },
      agent: asWorker,
    },
    {
      method: 'POST',
      url: `${internalUrl}/internal/v1/attachments/${nowhere}/state`,
      body: {
        state: 'failed',
        failure: { code: 'ERR_X', title: 't', detail: 'd', remedy: 'r' },
        reason: 'x',
        stats: { a: 1 },
      },
      agent: asWorker,
    },
    {
      method: 'POST',
      url: `${internalUrl}/internal/v1/workers/self/attachments`,
      body: { attachment_ids: [nowhere] },
      agent: asWorker,
    },
    {
      method: 'POST',
      url: `${internalUrl}/internal/v1/audit-events`,
      body: { event: 'channel_refused', session_id: started.session.id, code: 'ERR_X', details: { a: 'b' } },
      agent: asWorker,
    },
    {
      method: 'POST',
      url: `${resolverUrl}/v1/resolve`,
      body: { lease_token: 'x', recipient_jwk: { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) } },
      agent: asWorker,
    },
    {
      method: 'PUT',
      url: `${resolverUrl}/v1/secrets/${organization_id}/${id}/rdp-primary`,
      body: { sealed, actor_user_id: nowhere, request_id: 'r', expected_version: 7 },
      agent: asControlPlane,
    },
  ]
  for (const route of routes) {
    const bodies = bentBodies(route.body)
    const statuses = await Promise.all(bodies.map(body => send(route, body)))
    const wrong = statuses.flatMap((status, index) =>
      status >= 500 || status < 200 ? [`${status}: ${bodies[index]?.toString().slice(0, 200)}`] : [],
    )
    t.same(wrong, [], `${route.method} ${new URL(route.url).pathname.replaceAll(/[0-9a-f-]{36}/g, ':id')}`)
    t.ok(statuses.filter(status => status >= 400).length > bodies.length / 2, 'most are refused')
  }
})

/** What a raw connection got back, up to its end or so much silence in milliseconds. */
function rawAnswer(socket: TLSSocket, bytes: string | Buffer, silenceMs: number): Promise<string> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    const done = (): void => {
      socket.destroy()
      resolve(Buffer.concat(chunks).toString('latin1'))
    }
    let timer: NodeJS.Timeout | undefined
    socket.once('secureConnect', () => {
      timer = setTimeout(done, silenceMs).unref()
    })
    socket.on('data', chunk => {
      chunks.push(chunk)
      timer?.refresh()
    })
    socket.once('close', done)
    socket.once('error', () => {})
    socket.write(bytes)
  })
}

t.test('bytes that are no HTTP end their connection and nothing else', async t => {
  const asWorker = await clientOf('worker', worker?.id ?? '')
  for (const [url, client] of [
    [apiUrl, undefined],
    [internalUrl, asWorker],
    [resolverUrl, asWorker],
    [gatewayUrl, undefined],
    [worker?.url ?? '', undefined],
  ] as const) {
    const port = Number(new URL(url).port)
    const answers = await Promise.all(
      BROKEN_HTTP.map(bytes => {
        const socket = connect({
          host: '127.0.0.1',
          port,
          servername: 'localhost',
          ca: authority.certificatePem,
          ...client,
        })
        return rawAnswer(socket, bytes, 300)
      }),
    )
    t.same(
      answers.filter(answer => /^HTTP\/1\.1 5(?!05)/.test(answer)),
      [],
      'no error of the server',
    )
    // The same without TLS, cut short.
    const plain = connectTcp(port, '127.0.0.1')
    plain.on('error', () => {})
    await new Promise<void>(resolve => {
      plain.once('close', () => resolve())
      plain.resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    })
  }
})

t.test('an internal listener says nothing to somebody without a certificate of the platform', async t => {
  for (const url of [internalUrl, resolverUrl]) {
    const port = Number(new URL(url).port)
    const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: authority.certificatePem })
    // Up to its end, which the server brings.
    t.equal(await rawAnswer(socket, 'GET /v1/sealing-key HTTP/1.1\r\nHost: x\r\n\r\n', 60_000), '')
  }
})

interface Ending {
  readonly code: number
  readonly reason: string
}

/** Sends one first message and tells how the connection was closed. */
async function firstMessage(url: string, message: Buffer, binary: boolean): Promise<Ending> {
  const socket = await openSocket(platform, url)
  socket.on('error', () => {})
  return await new Promise(resolve => {
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    socket.send(message, { binary })
  })
}

t.test('a first message that is bent is refused at once, over either path', async t => {
  const ended = await api.call<Started>('POST', '/v1/sessions', {
    body: { resource_id: resource?.id, dpop_jkt: key.jkt },
  })
  await endSession(platform, ended)
  const { token } = ended.data_plane
  for (const url of [directUrl(ended), gatewayUrl]) {
    const proof = await key.proof(token, url)
    const json = {
      type: 'bind',
      protocol_version: 1,
      runtime_transport: 'binary_v1',
      token,
      proof,
      channels: ['display'],
    }
    const request = rdCleanPathRequest({ token, proof, destination: resource?.id ?? '' })
    const texts = [...bent(JSON.stringify(json), 8), ...bentBodies(json).slice(0, 120), Buffer.from(' '.repeat(17_000))]
    const binaries = [
      ...bent(request, 12),
      Buffer.alloc(17_000, 0x30),
      Buffer.alloc(0),
      Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
    ]
    const endings: Ending[] = []
    for (let at = 0; at < texts.length; at += 20)
      endings.push(...(await Promise.all(texts.slice(at, at + 20).map(text => firstMessage(url, text, false)))))
    for (let at = 0; at < binaries.length; at += 20)
      endings.push(...(await Promise.all(binaries.slice(at, at + 20).map(bytes => firstMessage(url, bytes, true)))))
    // 1006 and 4502: text that is no UTF-8, which ends the worker's connection, and with it the gateway's.
    const odd = endings.filter(
      ({ code }) => !((code >= 4400 && code <= 4429) || [1006, 1007, 1009, 4502].includes(code)),
    )
    t.same(odd, [])
  }
})

t.test('frames that break the WebSocket protocol end their connection', async t => {
  for (const url of [worker?.url ?? '', gatewayUrl]) {
    for (const frame of BROKEN_FRAMES) {
      const socket = await openSocket(platform, url)
      socket.on('error', () => {})
      const closed = new Promise(resolve => socket.once('close', resolve))
      // Past the library, which would not send it.
      ;(socket as WebSocket & { _socket: TLSSocket })._socket.write(frame)
      const outcome = await Promise.race([
        closed.then(() => 'closed'),
        new Promise(resolve => setTimeout(resolve, 15_000, 'open').unref()),
      ])
      socket.terminate()
      t.equal(outcome, 'closed', frame.toString('hex').slice(0, 20))
    }
  }
})

t.test('RDP that is bent at any step ends its own desktop and no other', async t => {
  const bend: ((bytes: Buffer) => Buffer)[] = [
    bytes => bytes.subarray(0, bytes.length - 1),
    bytes => Buffer.concat([Buffer.from([3, 0, 0, 3]), bytes]),
    bytes => {
      const copy = Buffer.from(bytes)
      copy[Math.min(9, copy.length - 1)] = (copy[Math.min(9, copy.length - 1)] as number) ^ 0xff
      return copy
    },
    bytes => Buffer.concat([bytes, bytes]),
  ]
  const known = /^ERR_RELAY_(CLIENT_PROTOCOL|TARGET_CLOSED|TARGET_LOST|TARGET_PROTOCOL)$/
  for (let step = 0; step < 12; step++) {
    const started = await api.call<Started>('POST', '/v1/sessions', {
      body: { resource_id: resource?.id, dpop_jkt: key.jkt },
    })
    const url = step % 2 === 0 ? directUrl(started) : gatewayUrl
    const { token } = started.data_plane
    const outcome = await wireBind(platform, { url, token, proof: await key.proof(token, url) })
    if (!outcome.bound) throw new Error(outcome.reason)
    const { socket } = outcome
    let ending: string | undefined
    socket.once('close', (_code, reason) => {
      ending = reason.toString()
    })
    let sent = 0
    const change = bend[step % bend.length] as (bytes: Buffer) => Buffer
    const client = new RdpClient({ send: bytes => socket.send(sent++ === step ? change(Buffer.from(bytes)) : bytes) })
    socket.on('message', (data: Buffer, isBinary: boolean) => isBinary && client.push(data))
    client.start()
    // Some of it means nothing to the target, which then waits; it is ended as an idle one would be.
    await waitFor(() => ending !== undefined || client.isActive || sent > step, { what: `step ${step}` })
    await waitFor(() => ending !== undefined || client.isActive, { what: 'the end', timeoutMs: 1500 }).catch(() => {})
    if (ending !== undefined) t.match(ending, known, `step ${step}`)
    await endSession(platform, started)
    socket.terminate()
  }
})

t.test('bytes that are no input end an active desktop, and only that', async t => {
  for (const garbage of [
    Buffer.alloc(64, 0xff),
    Buffer.from([3, 0, 0, 0]),
    Buffer.from([3, 0, 0, 8, 2, 0xf0, 0x80, 0xff]),
  ]) {
    const desktop = await openDesktop(platform, { resourceId: resource?.id ?? '', key })
    desktop.socket.send(garbage)
    t.match(await desktop.closed, { code: 4422, reason: 'ERR_RELAY_CLIENT_PROTOCOL' })
    await endSession(platform, desktop.started)
  }
})
