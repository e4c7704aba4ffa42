import { X509Certificate } from 'node:crypto'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { certificateThumbprint, identityOfCertificate, parseSpiffeId, spiffeId } from '@rap/pki'
import { Agent, buildConnector, Dispatcher } from 'undici'
import { TLS_DEFAULTS, type TlsMaterial } from './tls.ts'

export interface InternalAgentOptions extends TlsMaterial {
  /** Trust bundle of the platform; the system's store is never used. */
  readonly ca: string | Buffer
  readonly trustDomain: string
  /** Path of the server's SPIFFE ID: `service/secret-resolver` or `worker/<id>`. */
  readonly expectedIdentity: string
  readonly connectTimeoutMs?: number
  /** Asked at each new connection; absent where the caller has no register. */
  readonly isRevoked?: IsRevoked
}

/** The server's certificate is valid, but it speaks for somebody else. */
export class PeerIdentityError extends Error {
  override readonly name = 'PeerIdentityError'
  readonly code = 'ERR_PEER_IDENTITY'
  readonly facts: { readonly expected: string; readonly received: string }

  constructor(expected: string, received: string) {
    super('server certificate carries another identity')
    this.facts = { expected, received }
  }
}

/** Whether a server is refused although its certificate is valid. */
export type IsRevoked = (peer: { readonly kind: string; readonly id: string; readonly thumbprint: string }) => boolean

/**
 * A check for `tls.connect({ checkServerIdentity })`: host name first, as HTTPS asks, then the SPIFFE URI SAN, then whether
 * it is revoked, where the caller knows. Throws TypeError when `expectedIdentity` is no `service/<name>` or `worker/<id>`.
 */
export function serverIdentityCheck(
  trustDomain: string,
  expectedIdentity: string,
  isRevoked: IsRevoked = () => false,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  const expected = `spiffe://${trustDomain}/${expectedIdentity}`
  const parts = parseSpiffeId(expected)
  if (parts === undefined || spiffeId(parts.trustDomain, parts.kind, parts.id) !== expected) {
    throw new TypeError('expected identity is out of form')
  }
  return (host, certificate) => {
    // RFC 9525 §2: a host stands in the subjectAltName; Node would take a common name where no DNS name is there.
    const subject = { ...certificate.subject, CN: '' }
    const wrongName = checkServerIdentity(host, { ...certificate, subject })
    if (wrongName !== undefined) return wrongName
    const received = identityOfCertificate(new X509Certificate(certificate.raw))
    if (received !== expected) return new PeerIdentityError(expected, received ?? 'none')
    const peer = { kind: parts.kind, id: parts.id, thumbprint: certificateThumbprint(certificate.raw) }
    return isRevoked(peer) ? new PeerIdentityError(expected, 'revoked') : undefined
  }
}

/**
 * An undici dispatcher for calls to one internal server over mutual TLS: chain, host name and SPIFFE ID are all verified.
 *
 * INVARIANT: a call that begins after `setTls` goes over a connection that was made with the new material. One that lives
 * on would outlast its certificate, and the server refuses it from then on.
 */
export class InternalAgent extends Dispatcher {
  #options: InternalAgentOptions
  #agent: Agent

  constructor(options: InternalAgentOptions) {
    super()
    this.#options = options
    this.#agent = agentOf(options)
  }

  setTls({ cert, key, ca = this.#options.ca }: TlsMaterial): void {
    const next = { ...this.#options, cert, key, ca }
    const agent = agentOf(next)
    // Calls that are under way end as they began.
    void this.#agent.close().catch(() => {})
    this.#agent = agent
    this.#options = next
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    return this.#agent.dispatch(options as Agent.DispatchOptions, handler)
  }

  override close(): Promise<void>
  override close(callback: () => void): void
  override close(callback?: () => void): Promise<void> | void {
    const closed = this.#agent.close()
    if (callback === undefined) return closed
    void closed.then(callback)
  }

  override destroy(): Promise<void>
  override destroy(error: Error | null): Promise<void>
  override destroy(callback: () => void): void
  override destroy(error: Error | null, callback: () => void): void
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | void {
    const callback = typeof first === 'function' ? first : second
    const destroyed = this.#agent.destroy(typeof first === 'function' ? null : (first ?? null))
    if (callback === undefined) return destroyed
    void destroyed.then(callback)
  }
}

function agentOf(options: InternalAgentOptions): Agent {
  return new Agent({
    connect: connectorOf(options),
    connections: 64,
    pipelining: 1,
    keepAliveTimeout: 10_000,
    keepAliveMaxTimeout: 60_000,
  })
}

function connectorOf(options: InternalAgentOptions): buildConnector.connector {
  const { cert, key, ca, trustDomain, expectedIdentity, isRevoked, connectTimeoutMs = 5000 } = options
  return buildConnector({
    ...TLS_DEFAULTS,
    cert,
    key,
    ca,
    rejectUnauthorized: true,
    checkServerIdentity: serverIdentityCheck(trustDomain, expectedIdentity, isRevoked),
    timeout: connectTimeoutMs,
    // A resumed session skips checkServerIdentity, so every connection makes a full handshake.
    maxCachedSessions: 0,
  })
}

export function internalAgent(options: InternalAgentOptions): InternalAgent {
  return new InternalAgent(options)
}
