import type { TLSSocket } from 'node:tls'
import { PROTOCOL, WireError } from '@rap/rdp'
import type { AssignmentClaims } from '@rap/token-claims'
import { parseTargetAddress, type TargetPolicy } from './address.ts'
import { dialTarget } from './dial.ts'
import { TargetFailure } from './failure.ts'
import { type LogonCredentials, logonToTarget } from './logon.ts'
import { negotiateSecurity } from './negotiate.ts'
import { secureTarget } from './secure.ts'

/** Longest time from the dial to the logon, in milliseconds; the control plane waits a little longer than that. */
const OPEN_TIMEOUT_MS = 12_000

/** A target that is logged on to and waits for MCS Connect Initial. */
export interface WarmTarget {
  readonly socket: TLSSocket
  readonly requestedProtocols: number
  readonly selectedProtocol: number
  /** Bytes of the target that came behind the logon; they go first. */
  readonly pending: Buffer
}

export interface OpenTargetOptions {
  readonly target: AssignmentClaims['target']
  readonly credentials: LogonCredentials | undefined
  readonly policy: TargetPolicy
  readonly platformCa: string | Buffer
  readonly production: boolean
  readonly credSspMinimumVersion: number
  readonly signal: AbortSignal
}

/** Dials a target and does everything up to MCS with it. Throws TargetFailure, or the signal's reason. */
export async function openTarget(options: OpenTargetOptions): Promise<WarmTarget> {
  const { target, credentials, policy, platformCa, production, credSspMinimumVersion: minimumVersion } = options
  const timeout = AbortSignal.timeout(OPEN_TIMEOUT_MS)
  const signal = AbortSignal.any([options.signal, timeout])
  let socket: { destroy(): unknown } | undefined
  try {
    const address = parseTargetAddress(target.address)
    const plain = await dialTarget(address, policy, signal)
    socket = plain
    const { requestedProtocols, selectedProtocol } = await negotiateSecurity(plain, target.security, signal)
    const rule = {
      mode: target.certificate_verification_mode,
      pins: target.certificate_pins ?? [],
      platformCa,
      allowInsecure: !production,
    }
    const secure = await secureTarget(plain, address.host, rule, signal)
    socket = secure
    if (selectedProtocol === PROTOCOL.SSL)
      return { socket: secure, requestedProtocols, selectedProtocol, pending: Buffer.alloc(0) }
    if (credentials === undefined) throw new TargetFailure('ERR_TARGET_CREDENTIALS_MISSING')
    const pending = await logonToTarget(secure, {
      host: address.host,
      credentials,
      selectedProtocol,
      minimumVersion,
      signal,
    })
    return { socket: secure, requestedProtocols, selectedProtocol, pending }
  } catch (error) {
    socket?.destroy()
    if (timeout.aborted && !options.signal.aborted && !(error instanceof TargetFailure)) {
      throw new TargetFailure('ERR_TARGET_TIMEOUT', { limit_ms: OPEN_TIMEOUT_MS })
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
