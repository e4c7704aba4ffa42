import { MAX_MESSAGE_BYTES } from '@rap/data-plane-protocol'
import { PeerIdentityError, serverIdentityCheck, TLS_DEFAULTS } from '@rap/service-kit'
import { type ClientOptions, WebSocket } from 'ws'
import { Refusal } from './refusal.ts'

/** Time for TCP, TLS and the upgrade together, in milliseconds. */
const DIAL_TIMEOUT_MS = 5000
/** How long a worker may take to answer our close frame, in milliseconds. */
export const CLOSE_TIMEOUT_MS = 5000

export interface DialOptions {
  readonly url: URL
  readonly workerId: string
  readonly trustDomain: string
  /** PEM of the platform CA: the only authority for workers. */
  readonly ca: string | Buffer
  /** Follows the call into the worker's log. */
  readonly requestId: string
  readonly signal: AbortSignal
}

/**
 * Connects to a worker: the certificate must chain to the platform CA, name the host, and be this very worker's.
 * The socket comes paused, so that nothing is lost before it has listeners. Throws Refusal ERR_WORKER_UNREACHABLE.
 */
export async function dialWorker(options: DialOptions): Promise<WebSocket> {
  const { url, workerId, trustDomain, ca, requestId, signal } = options
  const clientOptions = {
    ...TLS_DEFAULTS,
    ca,
    rejectUnauthorized: true,
    checkServerIdentity: serverIdentityCheck(trustDomain, `worker/${workerId}`),
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: MAX_MESSAGE_BYTES,
    // Text is relayed as it came; the end that parses it checks it.
    skipUTF8Validation: true,
    closeTimeout: CLOSE_TIMEOUT_MS,
    headers: { 'x-request-id': requestId },
  }
  const socket = new WebSocket(url, clientOptions as unknown as ClientOptions)
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail('dial_timeout'), DIAL_TIMEOUT_MS)
    const settle = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    const fail = (finding: string, cause?: unknown) => {
      settle()
      socket.terminate()
      reject(new Refusal('ERR_WORKER_UNREACHABLE', finding, { cause }))
    }
    const onAbort = () => fail('client_left')
    // This listener stays: an error after the dial shows itself as a close without a frame.
    socket.on('error', error => fail(findingOf(error), error))
    socket.once('unexpected-response', () => fail('upgrade_refused'))
    socket.once('open', () => {
      settle()
      socket.pause()
      resolve(socket)
    })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

function findingOf(error: unknown): string {
  if (error instanceof PeerIdentityError) return 'wrong_identity'
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' ? code : 'dial_failed'
}
