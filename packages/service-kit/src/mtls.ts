import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { certificateThumbprint, identityOfCertificate, parseSpiffeId, type SpiffeKind } from '@rap/pki'
import type { FastifyRequest, preHandlerAsyncHookHandler } from 'fastify'
import { commonProblems } from './errors.ts'

/** Who stands at the other end of a connection, by its verified platform certificate. */
export interface PeerIdentity {
  readonly kind: SpiffeKind
  readonly id: string
  readonly trustDomain: string
  /** `x5t#S256` of the certificate (RFC 8705 §3.1). */
  readonly thumbprint: string
  readonly certificate: X509Certificate
}

/** With the end of the certificate, in milliseconds since the epoch: it is looked at with every request. */
interface KnownPeer extends PeerIdentity {
  readonly endsAt: number
}

/** A connection keeps its certificate for life, so it is taken apart once. */
const identities = new WeakMap<Socket, KnownPeer | null>()

/** What certificates say, by the SHA-256 of all their bytes: a peer that connects again is not taken apart again. */
const known = new Map<string, KnownPeer | null>()
/** More peers than a platform has; the oldest entry goes first. */
const MAX_KNOWN = 1024

function readIdentity(socket: Socket): KnownPeer | null {
  // INVARIANT: `authorized` is true only after the chain was verified against this server's trust bundle.
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return null
  const thumbprint = certificateThumbprint(certificate.raw)
  const found = known.get(thumbprint)
  if (found !== undefined) return found
  const identity = identityOf(certificate, thumbprint)
  if (known.size >= MAX_KNOWN) known.delete(known.keys().next().value as string)
  known.set(thumbprint, identity)
  return identity
}

function identityOf(certificate: X509Certificate, thumbprint: string): KnownPeer | null {
  const uri = identityOfCertificate(certificate)
  const identity = uri === undefined ? undefined : parseSpiffeId(uri)
  if (identity === undefined) return null
  return { ...identity, thumbprint, certificate, endsAt: Date.parse(certificate.validTo) }
}

/**
 * The identity of the verified client certificate of a request, revoked or not, or undefined.
 *
 * Undefined when there is no certificate, when it was not verified, has expired since the handshake, carries no SPIFFE
 * ID of this platform, or when its trust domain is not this server's. For the words of a refusal; who is let in is
 * `peerIdentity`.
 */
export function certifiedPeer(request: FastifyRequest): PeerIdentity | undefined {
  const { socket } = request.raw
  let identity = identities.get(socket)
  if (identity === undefined) {
    identity = readIdentity(socket)
    identities.set(socket, identity)
  }
  if (identity === null || identity.trustDomain !== request.server.trustDomain) return undefined
  // A connection may live longer than the certificate that opened it.
  if (!(identity.endsAt > Date.now())) return undefined
  return identity
}

/** The `certifiedPeer` of a request where nothing of it is revoked, as far as this server looks; otherwise undefined. */
export function peerIdentity(request: FastifyRequest): PeerIdentity | undefined {
  const peer = certifiedPeer(request)
  return peer === undefined || request.server.revocations?.isRevoked(peer) === true ? undefined : peer
}

export interface RequiredIdentity {
  kind: SpiffeKind
  /** One id, or several that are welcome; every id of the kind when absent. */
  id?: string | readonly string[]
}

/** The peer, where it is one of the named identities; throws ERR_MTLS_IDENTITY for anybody else, and for nobody. */
export function checkedIdentity(peer: PeerIdentity | undefined, allowed: readonly RequiredIdentity[]): PeerIdentity {
  const isAllowed = allowed.some(
    ({ kind, id }) => peer?.kind === kind && (id === undefined || [id].flat().includes(peer.id)),
  )
  if (peer !== undefined && isAllowed) return peer
  throw commonProblems.ERR_MTLS_IDENTITY({
    facts: { received: peer === undefined ? 'none' : `${peer.kind}/${peer.id}` },
  })
}

/** Fastify `preHandler` (or `onRequest`) that lets only the named identities in; anybody else gets 403 ERR_MTLS_IDENTITY. */
export function requireIdentity(...allowed: readonly RequiredIdentity[]): preHandlerAsyncHookHandler {
  return async request => {
    checkedIdentity(peerIdentity(request), allowed)
  }
}
