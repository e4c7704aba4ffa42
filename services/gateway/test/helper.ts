import { randomUUID, webcrypto } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer as createHttpsServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { type Authority, createAuthority, type IssuedCertificate, issueCertificate, spiffeId } from '@rap/pki'
import { createLogger, createMetrics, loadConfig, type Metrics } from '@rap/service-kit'
import { tempDir } from '@rap/testkit'
import { publicJwkOf, type SigningKey, signToken, type UnsignedClaims } from '@rap/token-claims'
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws'
import { buildGateway, type Gateway, type GatewayDeps } from '../src/app.ts'
import { checkConfig, configSchema } from '../src/config.ts'
import { ControlPlaneStandIn } from './control-plane.ts'

export const TRUST_DOMAIN = 'rap.internal'
export const ISSUER = 'https://rap.internal/control-plane'

/** What a test registers its clean-up with; tap's own `t` fits. */
export interface Teardown {
  teardown(run: () => unknown): void
}

export interface Closed {
  readonly code: number
  readonly reason: string
}

export async function authority(name = 'test CA'): Promise<Authority> {
  return await createAuthority({ name, days: 30, now: new Date() })
}

export async function certificate(
  ca: Authority,
  names: { uris?: string[]; dnsNames?: string[]; ipAddresses?: string[]; notAfter?: Date; now?: Date } = {},
): Promise<IssuedCertificate> {
  return await issueCertificate({
    authority: ca,
    commonName: 'test',
    usages: ['server', 'client'],
    ipAddresses: ['127.0.0.1'],
    dnsNames: ['localhost'],
    now: new Date(),
    ...names,
  })
}

export function workerUri(workerId: string): string {
  return spiffeId(TRUST_DOMAIN, 'worker', workerId)
}

export interface SigningSet {
  readonly key: SigningKey
  readonly jwks: { keys: unknown[] }
}

export async function signingSet(): Promise<SigningSet> {
  const { privateKey, publicKey } = await webcrypto.subtle.generateKey(
    { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['sign', 'verify'],
  )
  const jwk = await publicJwkOf(publicKey)
  return { key: { kid: jwk.kid, privateKey }, jwks: { keys: [jwk] } }
}

/** Claims of a token for `workerId`; every other id is fresh. */
export function claimsFor(workerId: string): UnsignedClaims<'data_plane'> {
  return {
    sub: randomUUID(),
    organization_id: randomUUID(),
    resource_id: randomUUID(),
    worker_id: workerId,
    session_id: randomUUID(),
    attachment_id: randomUUID(),
    allowed_channels: ['display', 'input'],
    cnf: { jkt: 'A'.repeat(43) },
  }
}

export async function tokenFor(
  { key }: SigningSet,
  workerId: string,
  { ageSeconds = 0, issuer = ISSUER }: { ageSeconds?: number; issuer?: string } = {},
): Promise<string> {
  return await signToken('data_plane', claimsFor(workerId), {
    key,
    issuer,
    jti: randomUUID().replaceAll('-', ''),
    nowSeconds: Math.floor(Date.now() / 1000) - ageSeconds,
    lifetimeSeconds: 60,
  })
}

/** A JSON bind that carries `token`; its proof is not the gateway's business. */
export function bindWith(token: string): string {
  return JSON.stringify({
    type: 'bind',
    protocol_version: 1,
    runtime_transport: 'binary_v1',
    token,
    proof: 'a.b.c',
    channels: ['display', 'input'],
  })
}

export interface Message {
  readonly text?: string
  readonly bytes?: Buffer
}

/** A worker's data plane as far as the gateway can see it: real TLS, a real WebSocket server, messages kept. */
export interface WorkerStandIn {
  readonly id: string
  readonly url: string
  readonly connections: WebSocket[]
  readonly received: Message[]
  next(): Promise<WebSocket>
}

export async function workerStandIn(
  t: Teardown,
  tls: IssuedCertificate,
  {
    id = randomUUID(),
    host = '127.0.0.1',
    beforeUpgrade = async () => {},
  }: { id?: string; host?: string; beforeUpgrade?: () => Promise<void> } = {},
): Promise<WorkerStandIn> {
  const server = createHttpsServer({ cert: tls.certificatePem, key: tls.keyPem })
  const sockets = new WebSocketServer({
    server,
    path: DATA_PLANE_PATH,
    perMessageDeflate: false,
    verifyClient: (_info, done) => void beforeUpgrade().then(() => done(true)),
  })
  const received: Message[] = []
  const connections: WebSocket[] = []
  const waiting: ((socket: WebSocket) => void)[] = []
  sockets.on('connection', socket => {
    socket.on('error', () => {})
    socket.on('message', (data, isBinary) =>
      received.push(isBinary ? { bytes: data as Buffer } : { text: (data as Buffer).toString('utf8') }),
    )
    connections.push(socket)
    waiting.shift()?.(socket)
  })
  const port = await listen(server)
  t.teardown(() => closeServer(server, sockets))
  return {
    id,
    url: `wss://${host}:${port}${DATA_PLANE_PATH}`,
    connections,
    received,
    next: () => new Promise(resolve => waiting.push(resolve)),
  }
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

export async function closeServer(server: Server, sockets?: WebSocketServer): Promise<void> {
  for (const socket of sockets?.clients ?? []) socket.terminate()
  server.closeAllConnections()
  await new Promise(resolve => server.close(resolve))
}

/** The control plane's key set, over TLS; `keys` may be swapped while it serves. */
export async function keySetServer(t: Teardown, tls: IssuedCertificate, set: { jwks: unknown }) {
  let requests = 0
  const server = createHttpsServer({ cert: tls.certificatePem, key: tls.keyPem }, (_request, response) => {
    requests += 1
    response.setHeader('content-type', 'application/json').end(JSON.stringify(set.jwks))
  })
  const port = await listen(server)
  t.teardown(() => closeServer(server))
  return { url: `https://127.0.0.1:${port}/.well-known/jwks.json`, requests: () => requests }
}

export interface TestGateway {
  readonly gateway: Gateway
  readonly url: string
  readonly ca: Authority
  readonly signing: SigningSet
  readonly controlPlane: ControlPlaneStandIn
  readonly lines: string[]
  readonly metrics: Metrics
  readonly draining: AbortController
  readonly keySet: { readonly url: string; requests(): number }
  token(workerId: string, options?: Parameters<typeof tokenFor>[2]): Promise<string>
  /** Puts a worker into the directory, and the gateway has read it. */
  register(workerId: string, publicUrl: string): Promise<void>
  /** A worker with the certificate that it should have, in the directory. */
  worker(): Promise<WorkerStandIn>
  connect(): Promise<Client>
}

export interface StartOptions {
  readonly env?: Record<string, string>
  readonly bindTimeoutMs?: number
  readonly auditWindowMs?: number
  readonly directoryTimes?: GatewayDeps['directoryTimes']
  readonly publicCa?: string
  /** Before the gateway asks for the first time. */
  readonly prepare?: (controlPlane: ControlPlaneStandIn) => unknown
}

interface Common {
  readonly ca: Authority
  readonly signing: SigningSet
}

async function makeCommon(): Promise<Common> {
  return { ca: await authority(), signing: await signingSet() }
}

let made: Promise<Common> | undefined

/** What the tests of one file share. */
function common(): Promise<Common> {
  made ??= makeCommon()
  return made
}

/** A gateway on a free port of loopback, with a control plane and a key set that are served over TLS. */
export async function startGateway(
  t: Teardown,
  { env = {}, bindTimeoutMs, auditWindowMs, directoryTimes = { intervalMs: 50 }, publicCa, prepare }: StartOptions = {},
): Promise<TestGateway> {
  const dir = tempDir('rap-gateway-')
  t.teardown(() => dir.remove())
  const { ca, signing } = await common()
  const caFile = join(dir.path, 'ca.pem')
  writeFileSync(caFile, ca.certificatePem)
  const tls = await certificate(ca, { uris: [spiffeId(TRUST_DOMAIN, 'service', 'gateway')] })
  const keySet = await keySetServer(t, tls, signing)
  const config = loadConfig(
    configSchema,
    {
      APP_ENV: 'test',
      GATEWAY_HOST: '127.0.0.1',
      GATEWAY_PORT: '0',
      GATEWAY_TLS_CERT_FILE: '/unused',
      GATEWAY_TLS_KEY_FILE: '/unused',
      RAP_PLATFORM_CA_FILE: caFile,
      RAP_TLS_CERT_FILE: '/unused',
      RAP_TLS_KEY_FILE: '/unused',
      CONTROL_PLANE_INTERNAL_URL: 'https://unused.example',
      CONTROL_PLANE_JWKS_URL: keySet.url,
      GATEWAY_DRAIN_SECONDS: '0',
      ...env,
    },
    { check: checkConfig },
  )
  const lines: string[] = []
  const logger = createLogger({
    service: 'gateway',
    level: 'debug',
    fields: ['finding', 'ended_by'],
    destination: { write: line => lines.push(line) },
  })
  const controlPlane = await ControlPlaneStandIn.start(t, ca)
  await prepare?.(controlPlane)
  const draining = new AbortController()
  const metrics = createMetrics({ service: 'gateway' })
  const gateway = await buildGateway({
    config,
    logger,
    metrics,
    platformCa: () => ca.certificatePem,
    ...(config.GATEWAY_PLAINTEXT ? {} : { tls: { cert: tls.certificatePem, key: tls.keyPem } }),
    draining: draining.signal,
    ...(bindTimeoutMs !== undefined && { bindTimeoutMs }),
    ...(auditWindowMs !== undefined && { auditWindowMs }),
    controlPlane: await controlPlane.client(t, ca, logger),
    directoryTimes,
    ...(publicCa !== undefined && { publicCa }),
  })
  t.teardown(() => gateway.app.close())
  t.teardown(() => gateway.directory.close())
  const address = await gateway.app.listen({ host: '127.0.0.1', port: 0 })
  const url = `${address.replace('http', 'ws')}${DATA_PLANE_PATH}`
  const register = async (workerId: string, publicUrl: string) => {
    controlPlane.workers.set(workerId, { public_url: publicUrl, names: null })
    await gateway.directory.refresh()
    // One that was under way may have asked before.
    await gateway.directory.refresh()
  }
  return {
    gateway,
    url,
    ca,
    signing,
    controlPlane,
    lines,
    metrics,
    draining,
    keySet,
    register,
    token: (workerId, options) => tokenFor(signing, workerId, options),
    worker: async () => {
      const id = randomUUID()
      const worker = await workerStandIn(t, await certificate(ca, { uris: [workerUri(id)] }), { id })
      await register(id, worker.url)
      return worker
    },
    connect: () => connect(t, url, { ca: ca.certificatePem }),
  }
}

/** A client's WebSocket with its messages and its end. */
export interface Client {
  readonly socket: WebSocket
  readonly received: Message[]
  readonly closed: Promise<Closed>
}

export async function connect(t: Teardown, url: string, options: ClientOptions): Promise<Client> {
  const socket = new WebSocket(url, { perMessageDeflate: false, ...options })
  t.teardown(() => socket.terminate())
  const received: Message[] = []
  socket.on('message', (data, isBinary) =>
    received.push(isBinary ? { bytes: data as Buffer } : { text: (data as Buffer).toString('utf8') }),
  )
  const closed = new Promise<Closed>(resolve =>
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString('utf8') })),
  )
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  return { socket, received, closed }
}

/** Connects, binds to the worker and waits until the worker has the bind. */
export async function bound(
  gateway: TestGateway,
  worker: WorkerStandIn,
): Promise<{ client: Client; workerEnd: WebSocket }> {
  const client = await gateway.connect()
  const next = worker.next()
  client.socket.send(bindWith(await gateway.token(worker.id)))
  return { client, workerEnd: await next }
}
