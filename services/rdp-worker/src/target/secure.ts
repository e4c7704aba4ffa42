import { constants, createHash } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls'
import { tcpFailure } from './dial.ts'
import { TargetFailure } from './failure.ts'

/** How the certificate of a target is verified; `certificate_verification_mode` of the resource. */
export interface CertificateRule {
  readonly mode: 'strict' | 'platform_ca' | 'pinned' | 'insecure'
  /** SHA-256 of the leaf's DER, hexadecimal; several, so that the next one can be pinned before a renewal. */
  readonly pins: readonly string[]
  readonly platformCa: string | Buffer
  readonly allowInsecure: boolean
}

/**
 * TLS over a negotiated connection, with the target's certificate verified before anything else is sent.
 *
 * Throws TargetFailure; its facts hold the fingerprint, for the audit. INVARIANT: a credential is written only to a socket
 * that this function returned.
 */
export async function secureTarget(
  socket: Socket,
  host: string,
  rule: CertificateRule,
  signal: AbortSignal,
): Promise<TLSSocket> {
  if (rule.mode === 'insecure' && !rule.allowInsecure) throw new TargetFailure('ERR_TARGET_VERIFICATION_MODE')
  const secure = connect({
    socket,
    minVersion: 'TLSv1.2',
    // The certificate that was verified stays the one of the connection.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    // Verified below, where the reason can be told apart and the fingerprint kept.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(isIP(host) === 0 && { servername: host.replace(/\.$/, '') }),
    ...(rule.mode === 'platform_ca' && { ca: rule.platformCa }),
  })
  // As for the plain socket: an error between two steps is found by the next one.
  secure.on('error', () => undefined)
  try {
    await handshake(secure, signal)
    verify(secure, host, rule)
    return secure
  } catch (error) {
    secure.destroy()
    throw error
  }
}

async function handshake(secure: TLSSocket, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const done = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort)
      secure.off('close', onClose).off('error', onError).off('secureConnect', onConnect)
      settle()
    }
    const onAbort = (): void => done(() => reject(signal.reason))
    const onClose = (): void => done(() => reject(new TargetFailure('ERR_TARGET_CLOSED', { step: 'tls' })))
    const onError = (error: Error): void => done(() => reject(tlsFailure(error)))
    const onConnect = (): void => done(resolve)
    signal.addEventListener('abort', onAbort, { once: true })
    secure.once('close', onClose).once('error', onError).once('secureConnect', onConnect)
  })
}

function verify(secure: TLSSocket, host: string, { mode, pins }: CertificateRule): void {
  const certificate = secure.getPeerCertificate()
  if (certificate.raw === undefined) throw new TargetFailure('ERR_TARGET_NO_CERTIFICATE')
  const fingerprint = createHash('sha256').update(certificate.raw).digest('hex')
  const facts = { fingerprint_sha256: fingerprint, mode }
  switch (mode) {
    case 'insecure':
      return
    case 'pinned':
      if (!pins.includes(fingerprint)) throw new TargetFailure('ERR_TARGET_CERTIFICATE_MISMATCH', facts)
      return
    case 'strict':
    case 'platform_ca': {
      if (!secure.authorized) {
        const reason = String(secure.authorizationError)
        const expired = reason.includes('CERT_HAS_EXPIRED') || reason.includes('CERT_NOT_YET_VALID')
        throw new TargetFailure(expired ? 'ERR_TARGET_CERTIFICATE_EXPIRED' : 'ERR_TARGET_CERTIFICATE_UNTRUSTED', {
          ...facts,
          reason: reason.slice(0, 100),
        })
      }
      if (checkServerIdentity(host, certificate) !== undefined)
        throw new TargetFailure('ERR_TARGET_CERTIFICATE_NAME', facts)
    }
  }
}

function tlsFailure(error: NodeJS.ErrnoException): TargetFailure {
  const code = error.code ?? 'unknown'
  return code.startsWith('ERR_SSL_') || code === 'EPROTO'
    ? new TargetFailure('ERR_TARGET_TLS', { cause_code: code })
    : tcpFailure(error)
}
