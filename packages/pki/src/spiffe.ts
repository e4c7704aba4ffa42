import { PkiError } from './errors.ts'

/** What a platform certificate speaks for. */
export type SpiffeKind = 'service' | 'worker'

export interface SpiffeIdentity {
  readonly trustDomain: string
  readonly kind: SpiffeKind
  readonly id: string
}

/** SPIFFE-ID §2: a whole SPIFFE ID is at most 2048 bytes, its trust domain name at most 255. */
const MAX_URI_CHARACTERS = 2048
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/
const PATH_SEGMENT = /^[A-Za-z0-9._-]{1,128}$/

/**
 * The SPIFFE ID of a service or a worker.
 *
 * Spec: SPIFFE-ID §2, with the two kinds of path of this platform.
 * Throws PkiError INVALID_NAME for a part that the specification does not allow.
 */
export function spiffeId(trustDomain: string, kind: SpiffeKind, id: string): string {
  if (!isTrustDomain(trustDomain)) throw new PkiError('ERR_PKI_INVALID_NAME', 'invalid name', { field: 'trustDomain' })
  if (!isSegment(id)) throw new PkiError('ERR_PKI_INVALID_NAME', 'invalid name', { field: 'id' })
  return `spiffe://${trustDomain}/${kind}/${id}`
}

/**
 * Takes a SPIFFE ID of this platform apart, or returns undefined.
 *
 * INVARIANT: a result gives the same text again through `spiffeId`: there is one spelling of one identity, no
 * percent-encoding, no upper-case trust domain, no port, no query, no dot segments.
 */
export function parseSpiffeId(uri: string): SpiffeIdentity | undefined {
  if (uri.length > MAX_URI_CHARACTERS) return undefined
  const match = /^spiffe:\/\/([^/]+)\/(service|worker)\/([^/]+)$/.exec(uri)
  const [, trustDomain, kind, id] = match ?? []
  if (trustDomain === undefined || kind === undefined || id === undefined) return undefined
  if (!isTrustDomain(trustDomain) || !isSegment(id)) return undefined
  return { trustDomain, kind: kind as SpiffeKind, id }
}

function isTrustDomain(value: string): boolean {
  return TRUST_DOMAIN.test(value)
}

function isSegment(value: string): boolean {
  return PATH_SEGMENT.test(value) && value !== '.' && value !== '..'
}
