import { createHash } from 'node:crypto'
import { type ConnectionOptions, getCACertificates } from 'node:tls'
import { Agent, fetch as undiciFetch } from 'undici'
import { type ClientOptions, WebSocket } from 'ws'
import type { NetworkFailure } from '../errors.ts'
import { bundleTools } from './node-trust.ts'
import {
  type Authorities,
  type DataSocket,
  type OpenSocketOptions,
  type Platform,
  type SocketClose,
  SocketOpenError,
} from './types.ts'

/** Bytes that wait unread before the network is held back, and bytes that wait unsent before a writer is. */
const HIGH_WATER_BYTES = 256 * 1024
/** How long a peer may take to answer our close frame, in milliseconds. */
const CLOSE_TIMEOUT_MS = 3000

/** OpenSSL's and Node's names for "the certificate or the TLS version is not acceptable". */
const TLS_CODE =
  /^(CERT_|CRL_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|EPROTO|PATH_LENGTH_EXCEEDED|ERROR_IN_CERT_|UNSPECIFIED)/

/** Says outright that certificates are checked, so that NODE_TLS_REJECT_UNAUTHORIZED has no say. */
function tlsOptionsOf(authorities: Authorities): Pick<ConnectionOptions, 'ca' | 'minVersion' | 'rejectUnauthorized'> {
  const ca = authoritiesOf(authorities)
  return {
    ...(ca !== undefined && { ca }),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: authorities.kind !== 'unchecked',
  }
}

/** `undefined` means Node's own default authorities, `NODE_EXTRA_CA_CERTS` included. */
function authoritiesOf(authorities: Authorities): string[] | undefined {
  if (authorities.kind === 'only') return [...authorities.pem]
  if (authorities.kind !== 'default' || authorities.more.length === 0) return undefined
  return [...getCACertificates('default'), ...authorities.more]
}

function failureOfCode(code: string | undefined): NetworkFailure {
  if (code === undefined) return 'network'
  if (code === 'ETIMEDOUT' || code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'UND_ERR_HEADERS_TIMEOUT') return 'timeout'
  return TLS_CODE.test(code) ? 'tls' : 'network'
}

/** The innermost system code: fetch hides it in `cause`, and a dial of several addresses in an AggregateError. */
function codeOf(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 4) return undefined
  const inner = codeOf(error.cause, depth + 1)
  if (inner !== undefined) return inner
  if (error instanceof AggregateError) return codeOf(error.errors[0], depth + 1)
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' ? code : undefined
}

async function openSocket(url: string, options: OpenSocketOptions): Promise<DataSocket> {
  if (options.signal?.aborted) throw new SocketOpenError('aborted')
  const clientOptions: ClientOptions & { closeTimeout: number } = {
    ...tlsOptionsOf(options.authorities),
    followRedirects: false,
    perMessageDeflate: false,
    maxPayload: options.maxMessageBytes,
    closeTimeout: CLOSE_TIMEOUT_MS,
  }
  const socket = new WebSocket(url, clientOptions)
  // The streams listen from the start: a server may speak in the same packet that finishes the upgrade.
  const dataSocket = dataSocketOf(socket)
  await opened(socket, options)
  return dataSocket
}

function opened(socket: WebSocket, { timeoutMs, signal }: OpenSocketOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(new SocketOpenError('timeout')), timeoutMs)
    const onAbort = () => fail(new SocketOpenError('aborted'))
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.off('open', onOpen).off('error', onError).off('unexpected-response', onResponse)
    }
    const fail = (error: SocketOpenError) => {
      settle()
      reject(error)
      socket.terminate()
    }
    const onOpen = () => {
      settle()
      resolve()
    }
    const onError = (error: Error) => {
      const systemCode = codeOf(error)
      fail(new SocketOpenError(failureOfCode(systemCode), { systemCode }))
    }
    const onResponse = (_request: unknown, response: { statusCode?: number }) => {
      fail(new SocketOpenError('network', { status: response.statusCode }))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.on('open', onOpen).on('error', onError).on('unexpected-response', onResponse)
  })
}

function dataSocketOf(socket: WebSocket): DataSocket {
  const closed = Promise.withResolvers<SocketClose>()
  // The reason of an error is told by `opened` before the upgrade and by the close code after it.
  socket.on('error', () => {})
  socket.once('close', (code, reason) => closed.resolve({ code, reason: reason.toString('utf8') }))
  return {
    holdsBack: true,
    closed: closed.promise,
    readable: readableOf(socket),
    writable: writableOf(socket),
    close: (code, reason) => socket.close(code, reason),
    abort: () => socket.terminate(),
  }
}

function readableOf(socket: WebSocket): ReadableStream<string | Uint8Array> {
  let over = false
  return new ReadableStream<string | Uint8Array>(
    {
      start(controller) {
        socket.on('message', (data, isBinary) => {
          if (over) return
          controller.enqueue(isBinary ? (data as Buffer) : (data as Buffer).toString('utf8'))
          if ((controller.desiredSize ?? 0) <= 0) socket.pause()
        })
        socket.once('close', () => {
          if (!over) controller.close()
          over = true
        })
      },
      pull() {
        socket.resume()
      },
      cancel() {
        over = true
        // A paused socket would never see the peer's close frame.
        socket.resume()
        socket.close(1000)
      },
    },
    { highWaterMark: HIGH_WATER_BYTES, size: chunk => chunk.length + 1 },
  )
}

function writableOf(socket: WebSocket): WritableStream<string | Uint8Array> {
  return new WritableStream<string | Uint8Array>({
    start(controller) {
      socket.once('close', () => controller.error(new TypeError('socket is closed')))
    },
    write(chunk) {
      const sent = new Promise<void>((resolve, reject) => {
        socket.send(chunk, { binary: typeof chunk !== 'string' }, error => (error == null ? resolve() : reject(error)))
      })
      if (socket.bufferedAmount >= HIGH_WATER_BYTES) return sent
      // A failed write shows itself in `closed` and on the next write.
      sent.catch(() => {})
      return undefined
    },
    close() {
      socket.close(1000)
    },
    abort() {
      socket.close(1000)
    },
  })
}

/** Node: `ws` and undici, with authorities that the application brings along. */
export const platform: Platform = {
  name: 'node',
  openSocket,
  makeFetch(more) {
    // A new agent for other authorities: connections and TLS sessions of the old one would go on with what it accepted.
    let current: { readonly key: string; readonly agent: Agent } | undefined
    const agent = () => {
      const authorities = more()
      const key = authorities.join('\n')
      if (current?.key === key) return current.agent
      current?.agent.close().catch(() => {})
      const made = new Agent({ connect: tlsOptionsOf({ kind: 'default', more: authorities }) })
      current = { key, agent: made }
      return made
    }
    return ((input: string, init: object) =>
      undiciFetch(input, { ...init, dispatcher: agent() })) as unknown as typeof fetch
  },
  networkFailureOf(error) {
    const name = error instanceof Error ? error.name : ''
    if (name === 'TimeoutError') return { failure: 'timeout' }
    if (name === 'AbortError') return { failure: 'aborted' }
    const systemCode = codeOf(error)
    return { failure: failureOfCode(systemCode), systemCode }
  },
  newSha256() {
    const hash = createHash('sha256')
    return { update: bytes => void hash.update(bytes), hex: () => hash.copy().digest('hex') }
  },
  bundles: bundleTools,
}
