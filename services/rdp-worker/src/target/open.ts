import type { TLSSocket } from 'node:tls'
import { PROTOCOL, WireError } from '@rap/rdp'
import type { AssignmentClaims } from '@rap/token-claims'
import { parseTargetAddress, type TargetPolicy } from './address.ts'
import { dialTarget, type LookupAll } from './dial.ts'
import { TargetFailure } from './failure.ts'
import { type LogonCredentials, logonToTarget, spokeTooSoon } from './logon.ts'
import { negotiateSecurity } from './negotiate.ts'
import { type ReportCertificate, secureTarget } from './secure.ts'

/** Longest time from the dial to the logon, in milliseconds; the control plane waits a little longer than that. */
export const OPEN_TIMEOUT_MS = 12_000

/** A target that is logged on to and waits for MCS Connect Initial. */
export interface WarmTarget {
  readonly socket: TLSSocket
  readonly requestedProtocols: number
  readonly selectedProtocol: number
  /** Why a target that speaks before the client has spoken is not a desktop. */
  readonly refusalOf: (bytes: Uint8Array) => TargetFailure
}

export interface OpenTargetOptions {
  readonly target: AssignmentClaims['target']
  readonly credentials: LogonCredentials | undefined
  readonly policy: TargetPolicy
  readonly platformCa: string | Buffer
  readonly production: boolean
  readonly credSspMinimumVersion: number
  /** Asked with what the target shows, before it is sent anything else. */
  readonly report: ReportCertificate
  readonly signal: AbortSignal
  /** Milliseconds for everything; OPEN_TIMEOUT_MS when absent. */
  readonly timeoutMs?: number
  /** Default: the resolver of the system. */
  readonly lookupAll?: LookupAll
}

/** Dials a target and does everything up to MCS with it. Throws TargetFailure, or the signal's reason. */
export async function openTarget(options: OpenTargetOptions): Promise<WarmTarget> {
  const { target, credentials, policy, platformCa, production, credSspMinimumVersion: minimumVersion } = options
  const { report, timeoutMs = OPEN_TIMEOUT_MS, lookupAll } = options
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = AbortSignal.any([options.signal, timeout])
  let socket: { destroy(): unknown } | undefined
  try {
    const address = parseTargetAddress(target.address)
    const plain = await dialTarget(address, policy, { signal, lookupAll })
    socket = plain
    const { requestedProtocols, selectedProtocol } = await negotiateSecurity(plain, target.security, signal)
    const rule = {
      mode: target.certificate_verification_mode,
      pins: target.certificate_pins ?? [],
      publicKeyPins: target.public_key_pins ?? [],
      authorities: target.certificate_authorities,
      platformCa,
      allowInsecure: !production,
    }
    const secure = await secureTarget(plain, { host: address.host, rule, report, signal })
    socket = secure
    const warm = { socket: secure, requestedProtocols, selectedProtocol }
    if (selectedProtocol === PROTOCOL.SSL) return { ...warm, refusalOf: spokeTooSoon }
    if (credentials === undefined) throw new TargetFailure('ERR_TARGET_CREDENTIALS_MISSING')
    const { refusalOf } = await logonToTarget(secure, {
      host: address.host,
      credentials,
      selectedProtocol,
      minimumVersion,
      signal,
    })
    return { ...warm, refusalOf }
  } catch (error) {
    socket?.destroy()
    if (timeout.aborted && !options.signal.aborted && !(error instanceof TargetFailure)) {
      throw new TargetFailure('ERR_TARGET_TIMEOUT', { limit_ms: timeoutMs })
    }
    if (error instanceof WireError) {
      throw new TargetFailure(
        'ERR_TARGET_PROTOCOL',
        { structure: error.facts.structure, wire_code: error.code },
        { cause: error },
      )
    }
    throw error
  }
}
