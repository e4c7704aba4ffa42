import { type InternalClient, ProblemError } from '@rap/service-kit'
import { base64url, compactDecrypt, exportJWK, generateKeyPair } from 'jose'
import { TargetFailure } from '../target/failure.ts'
import type { LogonCredentials } from '../target/logon.ts'
import { readCredentialPayload } from './payload.ts'

/** Longest answer that is opened, in characters; the resolver's own bound is lower. */
const MAX_JWE_CHARACTERS = 16_384

/** The account of one session, and the way to forget it. */
export interface ResolvedCredentials extends LogonCredentials {
  /** Zeroes the password; safe to call twice. */
  destroy(): void
}

export interface ResolveLimits {
  /** Ends the call; it then rejects with the signal's reason. */
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

/**
 * Resolves the credential of a lease with a key made for this one request (docs/protocols/secret-sealing.md §4).
 *
 * The answer has to name `lease.jti`, the id of the lease token. Throws TargetFailure.
 * INVARIANT: no part of the answer is in an error.
 */
export async function resolveCredentials(
  resolver: InternalClient,
  lease: { readonly token: string; readonly jti: string },
  limits: ResolveLimits,
): Promise<ResolvedCredentials> {
  const { publicKey, privateKey } = await generateKeyPair('ECDH-ES', { crv: 'P-256' })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  const { jwe } = await ask(resolver, { lease_token: lease.token, recipient_jwk: { kty, crv, x, y } }, limits)
  if (typeof jwe !== 'string' || jwe.length > MAX_JWE_CHARACTERS) throw unavailable()
  let payload: Uint8Array | undefined
  try {
    const opened = await compactDecrypt(jwe, privateKey, {
      keyManagementAlgorithms: ['ECDH-ES'],
      contentEncryptionAlgorithms: ['A256GCM'],
    })
    payload = opened.plaintext
    const { typ, apv } = opened.protectedHeader
    if (typ !== 'rap-credential+jwe' || apv !== base64url.encode(lease.jti)) throw unavailable()
    const { username, domain, password } = readCredentialPayload(payload)
    return { username, domain, password, destroy: () => void password.fill(0) }
  } catch (error) {
    // A parser's error may quote what it read, so none is kept as a cause.
    throw error instanceof TargetFailure ? error : unavailable()
  } finally {
    payload?.fill(0)
  }
}

async function ask(
  resolver: InternalClient,
  body: unknown,
  { signal, timeoutMs }: ResolveLimits,
): Promise<{ jwe?: unknown }> {
  try {
    // Repeated only where no connection was made: the lease token works once.
    const request = { method: 'POST', path: '/v1/resolve', body, signal, timeoutMs, idempotent: true } as const
    return (await resolver.request<{ jwe?: unknown } | undefined>(request)) ?? {}
  } catch (error) {
    signal.throwIfAborted()
    const code = error instanceof ProblemError ? error.code : 'unknown'
    if (code === 'ERR_RESOLVE_DENIED') throw new TargetFailure('ERR_TARGET_CREDENTIALS_DENIED')
    throw new TargetFailure('ERR_TARGET_CREDENTIALS_UNAVAILABLE', { cause_code: code })
  }
}

const unavailable = (): TargetFailure =>
  new TargetFailure('ERR_TARGET_CREDENTIALS_UNAVAILABLE', { cause_code: 'answer' })
