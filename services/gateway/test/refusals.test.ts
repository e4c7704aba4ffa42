import { randomBytes, randomUUID } from 'node:crypto'
import { connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { decodeRdCleanPathAnswer, encodeRdCleanPathRequest } from '@rap/rdp'
import { freePort, waitFor } from '@rap/testkit'
import t from 'tap'
import {
  authority,
  bindWith,
  bound,
  type Closed,
  certificate,
  connect,
  signingSet,
  startGateway,
  type TestGateway,
  TRUST_DOMAIN,
  tokenFor,
  type WorkerStandIn,
  workerStandIn,
  workerUri,
} from './helper.ts'

/** Binds with `first` and answers how it ended and what the log found. */
async function refusalOf(
  gateway: TestGateway,
  first: string | Buffer,
): Promise<Closed & { finding: unknown; said: unknown }> {
  const logged = gateway.lines.length
  const client = await gateway.connect()
  client.socket.send(first)
  const closed = await client.closed
  const refused = () => gateway.lines.slice(logged).find(line => line.includes('data_plane_refused'))
  const line = await waitFor(refused, { what: 'refusal in the log' })
  const text = client.received.at(-1)?.text
  return { ...closed, finding: JSON.parse(line).finding, said: text === undefined ? undefined : JSON.parse(text) }
}

t.test('every token that does not verify looks the same to the client, and the worker never hears of it', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const token = await gateway.token(worker.id)
  const [header = '', payload = '', signature = ''] = token.split('.')
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const kid = gateway.signing.key.kid
  const stranger = await signingSet()
  const cases: [string, string, string][] = [
    ['expired', await gateway.token(worker.id, { ageSeconds: 120 }), 'ERR_TOKEN_EXPIRED'],
    ['not valid yet', await gateway.token(worker.id, { ageSeconds: -60 }), 'ERR_TOKEN_NOT_YET_VALID'],
    ['another issuer', await gateway.token(worker.id, { issuer: 'https://evil.example' }), 'ERR_TOKEN_ISSUER'],
    ['an unknown key', await tokenFor(stranger, worker.id), 'ERR_TOKEN_UNKNOWN_KEY'],
    [
      "another key under the known key's name",
      await tokenFor({ ...stranger, key: { ...stranger.key, kid } }, worker.id),
      'ERR_TOKEN_SIGNATURE',
    ],
    ['alg none', `${encode({ alg: 'none', typ: 'rap-dp+jwt', kid })}.${payload}.${signature}`, 'ERR_TOKEN_HEADER'],
    ['HS256', `${encode({ alg: 'HS256', typ: 'rap-dp+jwt', kid })}.${payload}.${signature}`, 'ERR_TOKEN_HEADER'],
    [
      'another typ',
      `${encode({ alg: 'RS256', typ: 'rap-lease+jwt', kid })}.${payload}.${signature}`,
      'ERR_TOKEN_HEADER',
    ],
    ['a changed claim', `${header}.${encode({ worker_id: worker.id })}.${signature}`, 'ERR_TOKEN_SIGNATURE'],
  ]
  for (const [name, bad, finding] of cases) {
    const { said, ...refused } = await refusalOf(gateway, bindWith(bad))
    t.same(refused, { code: 4401, reason: 'ERR_BIND_REFUSED', finding }, name)
    t.match(said, { type: 'closing', code: 4401, reason: 'ERR_BIND_REFUSED' }, name)
  }
  t.equal(worker.connections.length, 0)
})

t.test('a first message that is no bind is refused as malformed', async t => {
  const gateway = await startGateway(t)
  const token = await gateway.token(randomUUID())
  const request = Buffer.from(encodeRdCleanPathRequest({ destination: 'x', proxyAuth: `${token}~a.b.c` }))
  const cases: [string, string | Buffer][] = [
    ['not JSON', 'hello'],
    ['null', 'null'],
    ['another type', '{"type":"rdp","data":"AAAA"}'],
    ['an unknown member', `${bindWith(token).slice(0, -1)},"extra":1}`],
    ['an empty message', ''],
    ['binary that is no DER', Buffer.from([0x16, 3, 1])],
    ['a truncated RDCleanPath request', request.subarray(0, request.length - 1)],
    ['bytes behind an RDCleanPath request', Buffer.concat([request, Buffer.from([0])])],
    [
      'an RDCleanPath request without a proof',
      Buffer.from(encodeRdCleanPathRequest({ destination: 'x', proxyAuth: token })),
    ],
  ]
  for (const [name, first] of cases)
    t.match(await refusalOf(gateway, first), { code: 4400, reason: 'ERR_BIND_MALFORMED' }, name)
})

t.test('an RDCleanPath client is refused with an RDCleanPath error', async t => {
  const gateway = await startGateway(t)
  const stranger = await signingSet()
  const proxyAuth = `${await tokenFor(stranger, randomUUID())}~a.b.c`
  const client = await gateway.connect()
  client.socket.send(encodeRdCleanPathRequest({ destination: 'x', proxyAuth }))
  t.same(await client.closed, { code: 4401, reason: 'ERR_BIND_REFUSED' })
  t.match(decodeRdCleanPathAnswer(client.received[0]?.bytes ?? Buffer.alloc(0)), { type: 'error', httpStatusCode: 401 })
})

t.test('a stranger cannot make the gateway hold a large first message', async t => {
  const gateway = await startGateway(t)
  const whole = await refusalOf(gateway, 'x'.repeat(16 * 1024 + 1))
  t.match(whole, { code: 4413, reason: 'ERR_RELAY_MESSAGE_TOO_LARGE' })
  const growing = await refusalOf(gateway, Buffer.alloc(900 * 1024, 0x30))
  t.match(growing, { code: 4413, finding: 'unbound_bytes' }, 'it is cut off while it arrives')
})

t.test('who says nothing is told so and closed', async t => {
  const gateway = await startGateway(t, { bindTimeoutMs: 200 })
  const client = await gateway.connect()
  t.same(await client.closed, { code: 4408, reason: 'ERR_BIND_TIMEOUT' })
})

t.test('pings do not keep an unbound connection open', async t => {
  const gateway = await startGateway(t, { bindTimeoutMs: 400 })
  const client = await gateway.connect()
  const pinging = setInterval(() => client.socket.ping(), 50)
  t.teardown(() => clearInterval(pinging))
  t.equal((await client.closed).code, 4408)
})

t.test('a worker that cannot be reached is told as such', async t => {
  const gateway = await startGateway(t)
  const unreachable = { code: 4502, reason: 'ERR_WORKER_UNREACHABLE' }
  const refuse = async (workerId: string) => await refusalOf(gateway, bindWith(await gateway.token(workerId)))
  t.match(await refuse(randomUUID()), { ...unreachable, finding: 'worker_not_in_directory' })

  const gone = randomUUID()
  await gateway.register(gone, `wss://127.0.0.1:${await freePort()}/data-plane/v1`)
  t.match(await refuse(gone), { ...unreachable, finding: 'ECONNREFUSED' })
})

t.test('a worker that takes the connection and says nothing is given up', async t => {
  const gateway = await startGateway(t)
  const silent = createTcpServer()
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const id = randomUUID()
  await gateway.register(id, `wss://127.0.0.1:${(silent.address() as { port: number }).port}/data-plane/v1`)
  t.match(await refusalOf(gateway, bindWith(await gateway.token(id))), { code: 4502, finding: 'dial_timeout' })
})

t.test('wherever a worker says that it is, nothing but the worker with its own certificate gets a byte', async t => {
  const gateway = await startGateway(t)
  const id = randomUUID()
  const otherId = randomUUID()
  const { ca } = gateway
  const past = new Date(Date.now() - 3_600_000)
  const attackers: [string, WorkerStandIn, string][] = [
    [
      "another worker's certificate",
      await workerStandIn(t, await certificate(ca, { uris: [workerUri(otherId)] })),
      'wrong_identity',
    ],
    [
      "a service's certificate",
      await workerStandIn(t, await certificate(ca, { uris: [`spiffe://${TRUST_DOMAIN}/service/gateway`] })),
      'wrong_identity',
    ],
    [
      'another trust domain',
      await workerStandIn(t, await certificate(ca, { uris: [`spiffe://evil.example/worker/${id}`] })),
      'wrong_identity',
    ],
    ['no SPIFFE ID', await workerStandIn(t, await certificate(ca)), 'wrong_identity'],
    [
      'two identities',
      await workerStandIn(t, await certificate(ca, { uris: [workerUri(otherId), workerUri(id)] })),
      'wrong_identity',
    ],
    [
      'the right identity by another authority',
      await workerStandIn(t, await certificate(await authority('evil CA'), { uris: [workerUri(id)] })),
      'SELF_SIGNED_CERT_IN_CHAIN',
    ],
    [
      'the right identity for another host name',
      await workerStandIn(
        t,
        await certificate(ca, { uris: [workerUri(id)], ipAddresses: ['192.0.2.1'], dnsNames: ['other.example'] }),
      ),
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    [
      'an expired certificate',
      await workerStandIn(
        t,
        await certificate(ca, { uris: [workerUri(id)], notAfter: new Date(Date.now() - 1000), now: past }),
      ),
      'CERT_HAS_EXPIRED',
    ],
  ]
  for (const [name, attacker, finding] of attackers) {
    await gateway.register(id, attacker.url)
    const refused = await refusalOf(gateway, bindWith(await gateway.token(id)))
    t.equal(refused.reason, 'ERR_WORKER_UNREACHABLE', name)
    if (finding === 'SELF_SIGNED_CERT_IN_CHAIN') t.match(refused.finding, /^(SELF_SIGNED|UNABLE_TO)/, name)
    else t.equal(refused.finding, finding, name)
    t.equal(attacker.connections.length, 0, name)
    t.equal(attacker.received.length, 0, name)
  }
})

t.test('an address that is no URL of a data plane is refused without a dial', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { port } = new URL(worker.url)
  for (const url of [
    'not a URL',
    `ws://127.0.0.1:${port}/data-plane/v1`,
    `wss://127.0.0.1:${port}/other`,
    `wss://127.0.0.1:${port}/data-plane/v1?x=1`,
    `wss://user:word@127.0.0.1:${port}/data-plane/v1`,
  ]) {
    await gateway.register(worker.id, url)
    const refused = await refusalOf(gateway, bindWith(await gateway.token(worker.id)))
    t.equal(refused.finding, 'worker_url_malformed', url)
  }
  t.equal(worker.connections.length, 0)
})

t.test('a worker identity is checked on every connection, also after a good one', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  await bound(gateway, worker)
  const impostor = await workerStandIn(t, await certificate(gateway.ca, { uris: [workerUri(randomUUID())] }))
  await gateway.register(worker.id, impostor.url)
  const refused = await refusalOf(gateway, bindWith(await gateway.token(worker.id)))
  t.equal(refused.finding, 'wrong_identity')
})

t.test('a new signing key is found, and made-up key ids do not become requests to the control plane', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const madeUp = async () => {
    const token = await tokenFor({ ...gateway.signing, key: { ...gateway.signing.key, kid: randomUUID() } }, worker.id)
    t.match(await refusalOf(gateway, bindWith(token)), { finding: 'ERR_TOKEN_UNKNOWN_KEY' })
  }
  const beganAtMs = performance.now()
  await Promise.all(Array.from({ length: 20 }, madeUp))
  const seconds = Math.ceil((performance.now() - beganAtMs) / 1000)
  // The first one, and no more than one a second.
  t.ok(gateway.keySet.requests() <= 2 + seconds, `${gateway.keySet.requests()} requests in ${seconds} s`)
})

t.test('without verification keys nobody gets through, and a stranger learns no more than ever', async t => {
  const gateway = await startGateway(t, { env: { CONTROL_PLANE_JWKS_URL: `https://127.0.0.1:${await freePort()}/` } })
  const worker = await gateway.worker()
  t.match(await refusalOf(gateway, bindWith(await gateway.token(worker.id))), {
    code: 4401,
    reason: 'ERR_BIND_REFUSED',
    finding: 'no_verification_keys',
  })
  t.equal(worker.connections.length, 0)
})

t.test('strangers are bounded before the upgrade, and bound clients do not count among them', async t => {
  const gateway = await startGateway(t, { env: { GATEWAY_MAX_UNBOUND_CONNECTIONS: '2' } })
  const worker = await gateway.worker()
  await bound(gateway, worker)
  const first = await gateway.connect()
  await gateway.connect()
  await t.rejects(gateway.connect(), /429/)
  first.socket.terminate()
  await waitFor(() => gateway.connect(), { what: 'a place' })
})

t.test('one address cannot take every place', async t => {
  const gateway = await startGateway(t, {
    env: { GATEWAY_MAX_CONNECTIONS_PER_ADDRESS: '1', GATEWAY_PLAINTEXT: 'true' },
  })
  const from = (address: string) => connect(t, gateway.url, { headers: { 'x-forwarded-for': address } })
  await from('192.0.2.1')
  await t.rejects(from('192.0.2.1'), /429/)
  await from('192.0.2.2')
})

t.test('X-Forwarded-For of a stranger counts for nothing', async t => {
  const gateway = await startGateway(t, { env: { GATEWAY_MAX_CONNECTIONS_PER_ADDRESS: '1' } })
  const ca = gateway.ca.certificatePem
  await connect(t, gateway.url, { ca, headers: { 'x-forwarded-for': '192.0.2.1' } })
  await t.rejects(connect(t, gateway.url, { ca, headers: { 'x-forwarded-for': '192.0.2.2' } }), /429/)
})

t.test('a half-done upgrade gives its place back', async t => {
  const gateway = await startGateway(t, { env: { GATEWAY_MAX_UNBOUND_CONNECTIONS: '1', GATEWAY_PLAINTEXT: 'true' } })
  const { port } = new URL(gateway.url)
  const stream = connectTcp(Number(port), '127.0.0.1')
  t.teardown(() => stream.destroy())
  stream.write('GET /data-plane/v1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
  const answer = await new Promise<string>(resolve => stream.once('data', data => resolve(data.toString('latin1'))))
  t.match(answer, /^HTTP\/1\.1 4/)
  await waitFor(() => gateway.connect(), { what: 'a place' })
})

t.test('other paths and plain requests get a problem document and nothing more', async t => {
  const gateway = await startGateway(t)
  const plain = await gateway.gateway.app.inject({ url: '/data-plane/v1' })
  t.match(plain.json(), { code: 'ERR_REQUEST_MALFORMED' })
  for (const url of ['/', '/metrics', '/healthz', '/docs']) {
    t.equal((await gateway.gateway.app.inject({ url })).statusCode, 404, url)
  }
  const ca = gateway.ca.certificatePem
  await t.rejects(connect(t, gateway.url.replace('/data-plane/v1', '/other'), { ca }), /404/)
})

t.test('a flood of malformed frames ends that connection and nothing else', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client } = await bound(gateway, worker)
  for (let attempt = 0; attempt < 5; attempt++) {
    const stranger = await gateway.connect()
    const stream = (stranger.socket as unknown as { _socket: { write(bytes: Buffer): void } })._socket
    stream.write(Buffer.concat([Buffer.from([0xff, 0xff]), randomBytes(64)]))
    t.ok([1002, 1006, 1007].includes((await stranger.closed).code))
  }
  client.socket.send('still here')
  await waitFor(() => worker.received.some(({ text }) => text === 'still here'), { what: 'message' })
})
