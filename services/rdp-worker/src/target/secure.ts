import { constants } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { type CertificateRule, factsOf, readShown, refusalOf, type Shown } from './certificate.ts'
import { tcpFailure } from './dial.ts'
import { isFailureCode, TargetFailure } from './failure.ts'

/** What the source of truth is told about a certificate, before anything is decided about a password. */
export interface CertificateReport {
  readonly mode: CertificateRule['mode']
  /** Base64 DER, the leaf first. */
  readonly certificates: readonly string[]
  /** Why the worker refuses it; absent where it accepts it. */
  readonly code?: string
}

/** Tells the source of truth what was shown, and answers its word: a code where the worker must not go on. */
export type ReportCertificate = (report: CertificateReport, signal: AbortSignal) => Promise<string | undefined>

export interface SecureTargetOptions {
  readonly host: string
  readonly rule: CertificateRule
  readonly report: ReportCertificate
  readonly signal: AbortSignal
}

/**
 * TLS over a negotiated connection, with the target's certificate verified, and reported, before anything else is sent.
 *
 * Throws TargetFailure; its facts hold the fingerprint, for the audit. INVARIANT: a credential is written only to a socket
 * that this function returned, and it returns none without the word of the source of truth.
 */
export async function secureTarget(
  socket: Socket,
  { host, rule, report, signal }: SecureTargetOptions,
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
    ...authoritiesOf(rule),
  })
  // As for the plain socket: an error between two steps is found by the next one.
  secure.on('error', () => undefined)
  try {
    await handshake(secure, signal)
    const shown = readShown(secure)
    await decide(shown, { refusal: refusalOf(secure, host, { shown, rule }), rule, report, signal })
    return secure
  } catch (error) {
    secure.destroy()
    throw error
  }
}

/** The authorities that count; those of the system where nothing is said. An issuing authority can be one by itself. */
function authoritiesOf({ mode, authorities, platformCa }: CertificateRule) {
  if (mode === 'platform_ca') return { ca: platformCa }
  if (mode !== 'strict' || authorities === undefined) return {}
  const ca = authorities.map(text => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`)
  return { ca, allowPartialTrustChain: true }
}

/** Both have to accept: this worker by its order, and the source of truth by what holds now. */
async function decide(
  shown: Shown,
  given: Pick<SecureTargetOptions, 'rule' | 'report' | 'signal'> & { refusal: TargetFailure | undefined },
): Promise<void> {
  const { refusal, rule, report, signal } = given
  const facts = factsOf(shown, rule)
  let word: string | undefined
  try {
    word = await report(
      { mode: rule.mode, certificates: shown.chain, ...(refusal !== undefined && { code: refusal.code }) },
      signal,
    )
  } catch (cause) {
    signal.throwIfAborted()
    throw refusal ?? new TargetFailure('ERR_TARGET_IDENTITY_UNAVAILABLE', facts, { cause })
  }
  if (word === undefined || word === refusal?.code) {
    if (refusal !== undefined) throw refusal
    return
  }
  throw isFailureCode(word)
    ? new TargetFailure(word, facts)
    : (refusal ?? new TargetFailure('ERR_TARGET_IDENTITY_UNAVAILABLE', facts))
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

function tlsFailure(error: NodeJS.ErrnoException): TargetFailure {
  const code = error.code ?? 'unknown'
  return code.startsWith('ERR_SSL_') || code === 'EPROTO'
    ? new TargetFailure('ERR_TARGET_TLS', { cause_code: code })
    : tcpFailure(error)
}
