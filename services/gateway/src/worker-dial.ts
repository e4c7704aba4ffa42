import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { MAX_MESSAGE_BYTES } from '@rap/data-plane-protocol'
import { certificateThumbprint } from '@rap/pki'
import { PeerIdentityError, serverIdentityCheck, TLS_DEFAULTS } from '@rap/service-kit'
import { type ClientOptions, WebSocket } from 'ws'
import { Refusal } from './refusal.ts'
import type { WorkerPlace } from './worker-directory.ts'

/** Time for TCP, TLS and the upgrade together, in milliseconds. */
const DIAL_TIMEOUT_MS = 5000
/** How long a worker may take to answer our close frame, in milliseconds. */
export const CLOSE_TIMEOUT_MS = 5000

/** Whose certificates count, and for whom. */
export interface WorkerTrust {
  readonly trustDomain: string
  /** PEM of the platform's trust bundle in force. */
  readonly platformCa: () => string | Buffer
  /** PEM of the public authorities; those of Node.js when undefined. */
  readonly publicCa: () => string | Buffer | undefined
  readonly isRevoked: (thumbprint: string) => boolean
}

export interface DialOptions {
  readonly place: WorkerPlace
  readonly workerId: string
  readonly trust: WorkerTrust
  /** Follows the call into the worker's log. */
  readonly requestId: string
  readonly signal: AbortSignal
}

/** An open connection to a worker, paused, so that nothing is lost before it has listeners. */
export interface DialledWorker {
  readonly socket: WebSocket
  /** RFC 8705 x5t#S256 of the certificate that it showed. */
  readonly thumbprint: string
}

class RevokedCertificateError extends Error {
  override readonly name = 'RevokedCertificateError'
}

class UnregisteredNameError extends Error {
  override readonly name = 'UnregisteredNameError'
}

/**
 * Connects to a worker. Its certificate must not be revoked, and must
 * - with `platform_ca`, chain to the platform's trust bundle, name the host, and carry this very worker's identity;
 * - with `public_ca`, chain to a public authority and name the host, which must be registered for this worker.
 * Throws Refusal ERR_WORKER_UNREACHABLE, ERR_WORKER_REVOKED.
 */
export async function dialWorker(options: DialOptions): Promise<DialledWorker> {
  const { place, requestId, signal } = options
  let thumbprint = ''
  const clientOptions = {
    ...TLS_DEFAULTS,
    ca: place.trust === 'public_ca' ? options.trust.publicCa() : options.trust.platformCa(),
    rejectUnauthorized: true,
    // Every connection makes a full handshake, so this runs for each.
    checkServerIdentity: (host: string, certificate: PeerCertificate) => {
      thumbprint = certificateThumbprint(certificate.raw)
      return wrongWorker(options, host, certificate) ?? revoked(options, thumbprint)
    },
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: MAX_MESSAGE_BYTES,
    // Text is relayed as it came; the end that parses it checks it.
    skipUTF8Validation: true,
    closeTimeout: CLOSE_TIMEOUT_MS,
    headers: { 'x-request-id': requestId },
  }
  const socket = new WebSocket(place.url, clientOptions as unknown as ClientOptions)
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail('dial_timeout'), DIAL_TIMEOUT_MS)
    const settle = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    const fail = (finding: string, cause?: unknown) => {
      settle()
      socket.terminate()
      const reason = cause instanceof RevokedCertificateError ? 'ERR_WORKER_REVOKED' : 'ERR_WORKER_UNREACHABLE'
      reject(new Refusal(reason, finding, { cause }))
    }
    const onAbort = () => fail('client_left')
    // This listener stays: an error after the dial shows itself as a close without a frame.
    socket.on('error', error => fail(findingOf(error), error))
    socket.once('unexpected-response', () => fail('upgrade_refused'))
    socket.once('open', () => {
      settle()
      socket.pause()
      resolve({ socket, thumbprint })
    })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

function wrongWorker(
  { place, workerId, trust }: DialOptions,
  host: string,
  certificate: PeerCertificate,
): Error | undefined {
  if (place.trust === 'platform_ca') {
    return serverIdentityCheck(trust.trustDomain, `worker/${workerId}`)(host, certificate)
  }
  const { names, url } = place
  const name = url.hostname.replace(/^\[|\]$/g, '')
  // A public authority vouches for the name alone, so whose name it is has to come from the register.
  if (names !== null && !names.includes(name)) return new UnregisteredNameError('host name is not registered')
  return checkServerIdentity(host, certificate)
}

function revoked({ trust }: DialOptions, thumbprint: string): Error | undefined {
  return trust.isRevoked(thumbprint) ? new RevokedCertificateError('certificate is revoked') : undefined
}

function findingOf(error: unknown): string {
  if (error instanceof PeerIdentityError) return 'wrong_identity'
  if (error instanceof UnregisteredNameError) return 'name_not_registered'
  if (error instanceof RevokedCertificateError) return 'certificate_revoked'
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' ? code : 'dial_failed'
}
