import { ProtocolError } from './errors.ts'
import { MAX_BIND_BYTES } from './messages.ts'

const COMPACT_JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/** The `proxy_auth` of an RDCleanPath request: token and proof, joined by a character that is in neither. */
export function formatProxyAuth(token: string, proof: string): string {
  return `${token}~${proof}`
}

/** Splits a `proxy_auth`. Throws ProtocolError. */
export function parseProxyAuth(value: string): { token: string; proof: string } {
  if (value.length > MAX_BIND_BYTES) throw new ProtocolError('ERR_MESSAGE_TOO_LARGE', 'proxy_auth is over the bound')
  const parts = value.split('~')
  const [token, proof] = parts
  if (
    parts.length !== 2 ||
    token === undefined ||
    proof === undefined ||
    !COMPACT_JWS.test(token) ||
    !COMPACT_JWS.test(proof)
  ) {
    throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'proxy_auth is not a token and a proof')
  }
  return { token, proof }
}

/** The RDCleanPath `destination` of a resource: an opaque name, so that the client learns no inner address. */
export function destinationOf(resourceId: string): string {
  return `rap-resource://${resourceId}`
}

/** True where a `destination` names the resource, with or without the scheme. */
export function isDestinationOf(destination: string, resourceId: string): boolean {
  return destination === destinationOf(resourceId) || destination === resourceId
}
