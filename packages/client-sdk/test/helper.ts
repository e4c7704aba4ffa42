import { randomUUID } from 'node:crypto'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import type { Candidate } from '@rap/candidate-metadata'
import { type BindMessage, DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { type Authority, createAuthority, type IssuedCertificate, issueCertificate } from '@rap/pki'
import { DEFAULT_LIMITS } from '@rap/session-policy'
import { waitFor } from '@rap/testkit'
import { type WebSocket, WebSocketServer } from 'ws'

/** What a test registers its clean-up with; tap's own `t` fits. */
export interface Teardown {
  teardown(run: () => unknown): void
}

export async function authority(): Promise<Authority> {
  return await createAuthority({ name: 'test CA', days: 30, now: new Date() })
}

export async function serverCertificate(ca: Authority): Promise<IssuedCertificate> {
  return await issueCertificate({
    authority: ca,
    commonName: 'test',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    dnsNames: ['localhost'],
    now: new Date(),
  })
}

async function listen(t: Teardown, server: Server & { closeAllConnections(): void }): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

/** An HTTP server on loopback; with `tls` an HTTPS one. Answers its origin. */
export async function httpServer(t: Teardown, answer: RequestListener, tls?: IssuedCertificate): Promise<string> {
  const server =
    tls === undefined
      ? createHttpServer(answer)
      : createHttpsServer({ cert: tls.certificatePem, key: tls.keyPem }, answer)
  const port = await listen(t, server)
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
}

export interface DataPlaneEnd {
  readonly url: string
  readonly connections: WebSocket[]
  /** Text messages that came in, over all connections. */
  readonly texts: string[]
  readonly binaries: Buffer[]
  readonly upgrades: IncomingMessage[]
}

/** The server side of a data plane: real TLS, and `script` says what a connection does. */
export async function dataPlane(
  t: Teardown,
  tls: IssuedCertificate,
  script: (socket: WebSocket) => void = () => {},
): Promise<DataPlaneEnd> {
  const server = createHttpsServer({ cert: tls.certificatePem, key: tls.keyPem })
  const sockets = new WebSocketServer({ server, path: DATA_PLANE_PATH, perMessageDeflate: false })
  const end = {
    connections: [] as WebSocket[],
    texts: [] as string[],
    binaries: [] as Buffer[],
    upgrades: [] as IncomingMessage[],
  }
  sockets.on('connection', (socket, request) => {
    socket.on('error', () => {})
    end.upgrades.push(request)
    end.connections.push(socket)
    socket.on('message', (data, isBinary) => {
      if (isBinary) end.binaries.push(data as Buffer)
      else end.texts.push((data as Buffer).toString('utf8'))
    })
    script(socket)
  })
  const port = await listen(t, server)
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
  })
  return { ...end, url: `wss://127.0.0.1:${port}${DATA_PLANE_PATH}` }
}

/** Answers every bind with `bound`, and then runs `after`. */
export function binds(after: (socket: WebSocket, bind: BindMessage) => void = () => {}): (socket: WebSocket) => void {
  return socket => {
    socket.once('message', data => {
      const bind = JSON.parse((data as Buffer).toString('utf8'))
      socket.send(
        JSON.stringify({
          type: 'bound',
          protocol_version: 1,
          session_id: SESSION_ID,
          attachment_id: ATTACHMENT_ID,
          allowed_channels: bind.channels,
          runtime_transport: bind.runtime_transport,
        }),
      )
      after(socket, bind)
    })
  }
}

export const SESSION_ID = '11111111-1111-4111-8111-111111111111'
export const ATTACHMENT_ID = '22222222-2222-4222-8222-222222222222'
export const RESOURCE_ID = '33333333-3333-4333-8333-333333333333'
export const ORGANIZATION_ID = '44444444-4444-4444-8444-444444444444'
const WORKER_ID = '66666666-6666-4666-8666-666666666666'
const USER_ID = '55555555-5555-4555-8555-555555555555'

const TRANSPORTS: Candidate['metadata']['runtime_transports'] = ['rdcleanpath_v1', 'binary_v1', 'json_v1']

export function direct(url: string, metadata: Partial<Candidate['metadata']> = {}): Candidate {
  return {
    type: 'direct_worker_wss',
    url,
    priority: 10,
    metadata: {
      runtime_transport: 'json_v1',
      runtime_transports: TRANSPORTS,
      traffic_ready: true,
      tls_trust_mode: 'platform_ca',
      production_trusted: true,
      smoke_only: false,
      ...metadata,
    },
  }
}

export function gateway(url: string): Candidate {
  return {
    type: 'backend_gateway',
    url,
    priority: 50,
    metadata: { runtime_transport: 'json_v1', runtime_transports: TRANSPORTS, traffic_ready: true },
  }
}

export interface ScriptedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

export interface ControlPlaneScript {
  readonly candidates: unknown[]
  /** What the attachment allows; default display and input. */
  channels?: readonly string[]
  /** Seconds until a token ends; default 60. */
  tokenSeconds?: number
  /** Answers a request itself when it returns true. */
  intercept?: (request: ScriptedRequest, response: ServerResponse) => boolean | Promise<boolean>
}

/** The answers of a control plane as `docs` fix them, for tests of the client's own rules; the real one is in e2e. */
export async function scriptedControlPlane(t: Teardown, script: ControlPlaneScript, tls?: IssuedCertificate) {
  const requests: ScriptedRequest[] = []
  let tokens = 0
  const grant = () => ({
    token: `header.payload-${++tokens}.signature`,
    expires_at: new Date(Date.now() + (script.tokenSeconds ?? 60) * 1000).toISOString(),
    candidates: script.candidates,
  })
  const session = {
    id: SESSION_ID,
    organization_id: ORGANIZATION_ID,
    resource_id: RESOURCE_ID,
    user_id: USER_ID,
    state: 'ready',
    failure: null,
    end_reason: null,
    created_at: new Date().toISOString(),
    updated_at: new Date().toISOString(),
    ended_at: null,
    ends_at: null,
    a_newer_member: { is: 'ignored' },
  }
  const attachment = () => ({
    id: ATTACHMENT_ID,
    session_id: SESSION_ID,
    ordinal: 1,
    worker_id: WORKER_ID,
    state: 'ready',
    allowed_channels: script.channels ?? ['display', 'input'],
    limits: DEFAULT_LIMITS,
    session_ends_at: null,
  })
  const started = () => ({ session, attachment: attachment(), data_plane: grant() })
  const user = { id: USER_ID, email: 'a@example.com', display_name: 'A', platform_role: null }
  const login = () => ({
    access_token: `rap_at_${randomUUID()}`,
    token_type: 'Bearer',
    expires_in: 900,
    refresh_token: `rap_rt_${randomUUID()}`,
    user,
  })
  const answers: Record<string, () => unknown> = {
    'POST /v1/auth/login': login,
    'POST /v1/auth/refresh': login,
    'POST /v1/auth/logout': () => undefined,
    'GET /v1/me': () => ({ user, memberships: [] }),
    'POST /v1/sessions': started,
    [`GET /v1/sessions/${SESSION_ID}`]: () => ({ ...session, attachment: attachment() }),
    [`POST /v1/sessions/${SESSION_ID}/data-plane-token`]: () => ({ data_plane: grant() }),
    [`POST /v1/sessions/${SESSION_ID}/attachments`]: started,
    [`POST /v1/sessions/${SESSION_ID}/detach`]: () => session,
    [`POST /v1/sessions/${SESSION_ID}/terminate`]: () => session,
  }
  const origin = await httpServer(
    t,
    async (message, response) => {
      let text = ''
      for await (const chunk of message) text += chunk
      const request = {
        method: message.method ?? '',
        path: message.url ?? '',
        headers: message.headers,
        body: text === '' ? undefined : JSON.parse(text),
      }
      requests.push(request)
      if ((await script.intercept?.(request, response)) === true) return
      const answer = answers[`${request.method} ${request.path}`]
      if (answer === undefined) return problem(response, 404, 'ERR_NOT_FOUND')
      json(response, answer())
    },
    tls,
  )
  return { origin, requests, tokensMade: () => tokens }
}

export function json(response: ServerResponse, body: unknown, status = 200): void {
  if (body === undefined) response.writeHead(204).end()
  else response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

export function problem(response: ServerResponse, status: number, code: string, more: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/problem+json; charset=utf-8' }).end(
    JSON.stringify({
      type: `urn:rap:problem:${code}`,
      title: 'Refused',
      status,
      code,
      request_id: 'request-1',
      ...more,
    }),
  )
}

/** Sends `total` bytes, each message after the one before has left this process; `flood.taken` counts them. */
export function floodWith(
  socket: WebSocket,
  message: Buffer,
  options: { total: number; flood: { taken: number } },
): void {
  const { total, flood } = options
  const next = () => {
    if (flood.taken >= total) return
    socket.send(message, error => {
      if (error != null) return
      flood.taken += message.length
      next()
    })
  }
  next()
}

/** The value once it has not changed for a second. */
export async function standsStill(read: () => number): Promise<number> {
  let last = -1
  await waitFor(
    () => {
      const isStill = read() === last && last > 0
      last = read()
      return isStill
    },
    { what: 'the flow to stand still', intervalMs: 1000, timeoutMs: 30_000 },
  )
  return last
}
