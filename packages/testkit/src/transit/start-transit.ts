import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createContractServer } from '../contract-server.ts'
import { TestkitError } from '../errors.ts'
import { type Answer, bodyOf, type Members } from './answers.ts'
import { KubernetesEngine } from './auth-methods.ts'
import { TransitCore } from './core.ts'
import { FaultSwitch, type TransitFault } from './faults.ts'
import type { NewToken } from './tokens.ts'

export interface TransitOptions {
  /** HTTP without TLS. Default false. */
  readonly plain?: boolean
  /** Namespaces beside the root. */
  readonly namespaces?: readonly string[]
  /** Clock of tokens, in milliseconds. */
  readonly now?: () => number
}

/** A request as it came, for the search of secrets in it. */
export interface TransitRequest {
  readonly method: string
  /** Behind `/v1/`. */
  readonly path: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
  /** Undefined while there is no answer. */
  status: number | undefined
}

export interface TransitServer {
  /** Scheme, host and port. */
  readonly address: string
  /** The authority of the server's certificate; empty for a plain one. */
  readonly caPem: string
  readonly rootToken: string
  /** Every request since the start, in the order that they came. */
  readonly requests: readonly TransitRequest[]
  /** Switches a fault on; the answer switches it off. */
  inject(fault: TransitFault, options?: { readonly path?: string; readonly times?: number }): () => void
  clearFaults(): void
  seal(): void
  unseal(): void
  makeToken(token: NewToken): string
  /** Ends every token but root's. */
  revokeTokens(): void
  /** A service account's token for the Kubernetes method at that mount. */
  serviceAccountToken(mount: string, namespace: string, name: string, ttlSeconds?: number): string
  /** From now on data keys are wrapped with the latest version, whichever was asked for. */
  ignoreDataKeyVersion(mount: string): void
  stop(): Promise<void>
}

/** What the real server takes as a body. */
const MAX_BODY_BYTES = 32 * 1024 * 1024

/**
 * A server that follows the published HTTP API of the Transit engine of Vault and OpenBao, with real cryptography: tokens
 * with policies and lifetimes, AppRole and Kubernetes log-in, namespaces, the seal, and faults that a test switches on.
 */
export async function startTransit(options: TransitOptions = {}): Promise<TransitServer> {
  const core = new TransitCore(options.now ?? Date.now, options.namespaces ?? [])
  const faults = new FaultSwitch()
  const requests: TransitRequest[] = []
  const sockets = new Set<Socket>()
  const listener = (message: IncomingMessage, response: ServerResponse) => {
    void serve(message, response, { core, faults, requests }).catch(() => message.socket.destroy())
  }
  const { server, caPem } = await createContractServer(
    { name: 'transit', tls: options.plain !== true, ipAddresses: ['127.0.0.1'] },
    listener,
  )
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    address: `${options.plain === true ? 'http' : 'https'}://127.0.0.1:${port}`,
    caPem,
    rootToken: core.rootToken.id,
    requests,
    inject: (fault, rule) => faults.inject(fault, rule),
    clearFaults: () => faults.clear(),
    seal() {
      core.isSealed = true
    },
    unseal() {
      core.isSealed = false
    },
    makeToken: token => core.tokens.make(token).id,
    revokeTokens: () => core.tokens.revokeAll(),
    serviceAccountToken(mount, namespace, name, ttlSeconds) {
      const auth = core.authAt(mount)
      if (auth instanceof KubernetesEngine) return auth.serviceAccountToken(namespace, name, ttlSeconds)
      throw new TestkitError('ERR_TESTKIT_NOT_SUPPORTED', `no Kubernetes method at ${mount}`)
    },
    ignoreDataKeyVersion(mount) {
      const engine = core.engineAt(mount)
      if (engine === undefined) throw new TestkitError('ERR_TESTKIT_NOT_SUPPORTED', `no Transit engine at ${mount}`)
      engine.ignoresDataKeyVersion = true
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

interface Serving {
  readonly core: TransitCore
  readonly faults: FaultSwitch
  readonly requests: TransitRequest[]
}

async function serve(message: IncomingMessage, response: ServerResponse, { core, faults, requests }: Serving) {
  const body = await readBody(message)
  const url = new URL(message.url ?? '/', 'http://localhost')
  const path = url.pathname.replace(/^\/v1\//, '')
  const { method = '', headers } = message
  const record: TransitRequest = { method, path, headers, body, status: undefined }
  requests.push(record)
  const fault = faults.faultFor(path)
  if (fault?.kind === 'hang') return
  if (fault?.kind === 'cut' && !fault.after) return void message.socket.destroy()
  if (fault?.kind === 'slow') await delay(fault.delayMs)
  const own = url.pathname.startsWith('/v1/') ? answerTo(core, message, path, body) : { status: 404, errors: [] }
  if (fault?.kind === 'cut') return void message.socket.destroy()
  const answer = fault === undefined ? own : changed(own, fault)
  record.status = answer.status
  const text = fault?.kind === 'body' ? fault.body : bodyOf(answer)
  response.writeHead(answer.status, {
    'cache-control': 'no-store',
    'content-type': 'application/json',
    ...answer.headers,
  })
  if (fault?.kind === 'endless') return await writeEndlessly(response)
  if (fault?.kind === 'half') {
    response.write(text.slice(0, text.length / 2), () => message.socket.destroy())
    return
  }
  response.end(text)
}

function answerTo(core: TransitCore, message: IncomingMessage, path: string, body: Buffer): Answer {
  const { method = '', headers } = message
  const token = headers['x-vault-token']
  const namespace = headers['x-vault-namespace']
  let input: unknown = {}
  try {
    if (body.length > 0) input = JSON.parse(body.toString('utf8'))
  } catch {
    return { status: 400, errors: ['failed to parse JSON input: invalid character'] }
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    return { status: 400, errors: ['error parsing JSON'] }
  }
  return core.handle({
    method,
    path,
    namespace: typeof namespace === 'string' ? namespace.replaceAll(/^\/+|\/+$/g, '') : '',
    token: typeof token === 'string' ? token : undefined,
    input: input as Members,
  })
}

function changed(own: Answer, fault: TransitFault): Answer {
  switch (fault.kind) {
    case 'status':
      return { status: fault.status, errors: fault.errors ?? [], ...(fault.headers && { headers: fault.headers }) }
    case 'redirect':
      return { status: 307, errors: [], headers: { location: fault.location } }
    case 'body':
      return { status: 200 }
    case 'change':
      return own[fault.section] === undefined
        ? own
        : { ...own, [fault.section]: fault.change(own[fault.section] ?? {}) }
    default:
      return own
  }
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new RangeError('request body too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Until the client has enough. */
async function writeEndlessly(response: ServerResponse): Promise<void> {
  const chunk = Buffer.alloc(16 * 1024, 0x20)
  while (!response.destroyed) {
    if (!response.write(chunk)) await Promise.race([once(response, 'drain'), once(response, 'close')])
  }
}
