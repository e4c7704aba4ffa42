import { X509Certificate } from 'node:crypto'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { identityOfCertificate, parseSpiffeId, spiffeId } from '@rap/pki'
import { Agent, buildConnector } from 'undici'
import { TLS_DEFAULTS, type TlsMaterial } from './tls.ts'

export interface InternalAgentOptions extends TlsMaterial {
  /** Trust bundle of the platform; the system's store is never used. */
  readonly ca: string | Buffer
  readonly trustDomain: string
  /** Path of the server's SPIFFE ID: `service/secret-resolver` or `worker/<id>`. */
  readonly expectedIdentity: string
  readonly connectTimeoutMs?: number
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

/**
 * A check for `tls.connect({ checkServerIdentity })`: host name first, as HTTPS asks, then the SPIFFE URI SAN.
 * Throws TypeError when `expectedIdentity` is no `service/<name>` or `worker/<id>`.
 */
export function serverIdentityCheck(
  trustDomain: string,
  expectedIdentity: string,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  const expected = `spiffe://${trustDomain}/${expectedIdentity}`
  const parts = parseSpiffeId(expected)
  if (parts === undefined || spiffeId(parts.trustDomain, parts.kind, parts.id) !== expected) {
    throw new TypeError('expected identity is out of form')
  }
  return (host, certificate) => {
    const wrongName = checkServerIdentity(host, certificate)
    if (wrongName !== undefined) return wrongName
    const received = identityOfCertificate(new X509Certificate(certificate.raw))
    return received === expected ? undefined : new PeerIdentityError(expected, received ?? 'none')
  }
}

/**
 * An undici Agent for calls to one internal server over mutual TLS: chain, host name and SPIFFE ID are all verified.
 * `setTls` gives new connections another certificate; idle ones of the old certificate close within seconds.
 */
export class InternalAgent extends Agent {
  readonly #holder: { connect: buildConnector.connector }
  #options: InternalAgentOptions

  constructor(options: InternalAgentOptions) {
    const holder = { connect: connectorOf(options) }
    super({
      connect: (target, callback) => holder.connect(target, callback),
      connections: 64,
      pipelining: 1,
      keepAliveTimeout: 10_000,
      keepAliveMaxTimeout: 60_000,
    })
    this.#holder = holder
    this.#options = options
  }

  setTls(material: TlsMaterial): void {
    const { cert, key, ca = this.#options.ca } = material
    const next = { ...this.#options, cert, key, ca }
    this.#holder.connect = connectorOf(next)
    this.#options = next
  }
}

function connectorOf(options: InternalAgentOptions): buildConnector.connector {
  const { cert, key, ca, trustDomain, expectedIdentity, connectTimeoutMs = 5000 } = options
  return buildConnector({
    ...TLS_DEFAULTS,
    cert,
    key,
    ca,
    rejectUnauthorized: true,
    checkServerIdentity: serverIdentityCheck(trustDomain, expectedIdentity),
    timeout: connectTimeoutMs,
    // A resumed session skips checkServerIdentity, so every connection makes a full handshake.
    maxCachedSessions: 0,
  })
}

export function internalAgent(options: InternalAgentOptions): InternalAgent {
  return new InternalAgent(options)
}
