import { getCACertificates } from 'node:tls'
import { Agent, request } from 'undici'
import { TLS_DEFAULTS } from '../tls.ts'
import { IdentityError } from './identity-error.ts'

/** Largest answer, in bytes: a trust bundle of 16 certificates, signed, and a chain. */
const MAX_ANSWER_BYTES = 1024 * 1024
const REQUEST_TIMEOUT_MS = 10_000

/** Authorities that a connection may chain to. `'unverified'` is for reading what proves itself: signed trust bundles. */
export type Authorities = 'unverified' | { readonly platformPem: string }

export interface EnrolmentAnswer {
  readonly status: number
  /** Parsed JSON; undefined where it was none. */
  readonly body: unknown
  /** The server's clock, in milliseconds since the epoch; undefined where it did not say. */
  readonly serverTime: number | undefined
}

/**
 * One request to the public listener of the control plane. Its certificate chains to the platform's roots or to one of the
 * public authorities of this machine. Throws IdentityError UNREACHABLE.
 */
export async function askControlPlane(
  url: URL,
  { authorities, body, signal }: { authorities: Authorities; body?: unknown; signal?: AbortSignal | undefined },
): Promise<EnrolmentAnswer> {
  const trust =
    authorities === 'unverified'
      ? { rejectUnauthorized: false }
      : { rejectUnauthorized: true, ca: [authorities.platformPem, ...publicAuthorities()] }
  const dispatcher = new Agent({
    connect: { ...TLS_DEFAULTS, ...trust, timeout: REQUEST_TIMEOUT_MS, maxCachedSessions: 0 },
    maxResponseSize: MAX_ANSWER_BYTES,
  })
  const limit = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  try {
    const answer = await request(url, {
      dispatcher,
      method: body === undefined ? 'GET' : 'POST',
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
      headers: { accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.body.text()
    const serverTime = Date.parse(String(answer.headers.date))
    return {
      status: answer.statusCode,
      body: parse(text),
      serverTime: Number.isNaN(serverTime) ? undefined : serverTime,
    }
  } catch (cause) {
    signal?.throwIfAborted()
    const { code } = cause as { code?: unknown }
    const reason = typeof code === 'string' ? code : 'no answer'
    throw new IdentityError(
      'ERR_IDENTITY_UNREACHABLE',
      `${url.origin} (CONTROL_PLANE_URL): ${reason}`,
      { reason },
      { cause },
    )
  } finally {
    await dispatcher.destroy()
  }
}

function publicAuthorities(): string[] {
  return [...new Set([...getCACertificates('default'), ...getCACertificates('system')])]
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
