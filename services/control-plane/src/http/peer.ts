import {
  checkedIdentity,
  commonProblems,
  type PeerIdentity,
  peerIdentity,
  type RequiredIdentity,
} from '@rap/service-kit'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'

/** Who stands at the other end of an internal connection. */
export type Identify = (request: FastifyRequest) => PeerIdentity | undefined

/** The identity of the verified client certificate. */
export const identifyByCertificate: Identify = request => peerIdentity(request)

const peers = new WeakMap<FastifyRequest, PeerIdentity>()
/** The id of every worker; what a certificate says may be anything else. */
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Fastify hook that lets only the named identities in; a worker's id is a UUID. Throws ERR_MTLS_IDENTITY. */
export function requirePeer(identify: Identify, ...allowed: readonly RequiredIdentity[]): onRequestAsyncHookHandler {
  return async request => {
    const peer = checkedIdentity(identify(request), allowed)
    if (peer.kind === 'worker' && !UUID.test(peer.id)) {
      throw commonProblems.ERR_MTLS_IDENTITY({ facts: { received: `${peer.kind}/${peer.id}` } })
    }
    peers.set(request, peer)
  }
}

/** The peer of a route behind `requirePeer`; throws ERR_MTLS_IDENTITY where the hook did not run. */
export function peerOf(request: FastifyRequest): PeerIdentity {
  const peer = peers.get(request)
  if (peer === undefined) throw commonProblems.ERR_MTLS_IDENTITY()
  return peer
}
