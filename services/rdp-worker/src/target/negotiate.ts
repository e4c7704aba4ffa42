import type { Duplex } from 'node:stream'
import { decodeX224ConnectionConfirm, encodeX224ConnectionRequest, NEG_FAILURE, PROTOCOL, pduSize } from '@rap/rdp'
import { type FailureCode, TargetFailure } from './failure.ts'
import { FrameReader } from './frame-reader.ts'

/** What a resource's `security` lets the worker ask for; plain RDP security is in none of them. */
const REQUESTED = {
  auto: PROTOCOL.SSL | PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX,
  nla: PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX,
  tls: PROTOCOL.SSL,
} as const

const SELECTABLE: ReadonlySet<number> = new Set([PROTOCOL.SSL, PROTOCOL.HYBRID, PROTOCOL.HYBRID_EX])

export type TargetSecurity = keyof typeof REQUESTED

/** MS-RDPBCGR 2.2.1.2.2, each failure code by its sentence. */
const REFUSALS: Readonly<Record<number, FailureCode>> = {
  [NEG_FAILURE.SSL_REQUIRED_BY_SERVER]: 'ERR_TARGET_SSL_REQUIRED',
  [NEG_FAILURE.SSL_NOT_ALLOWED_BY_SERVER]: 'ERR_TARGET_SSL_NOT_ALLOWED',
  [NEG_FAILURE.SSL_CERT_NOT_ON_SERVER]: 'ERR_TARGET_NO_CERTIFICATE',
  [NEG_FAILURE.INCONSISTENT_FLAGS]: 'ERR_TARGET_INCONSISTENT_FLAGS',
  [NEG_FAILURE.HYBRID_REQUIRED_BY_SERVER]: 'ERR_TARGET_NLA_REQUIRED',
  [NEG_FAILURE.SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER]: 'ERR_TARGET_SMARTCARD_REQUIRED',
}

export interface NegotiatedSecurity {
  readonly requestedProtocols: number
  readonly selectedProtocol: number
}

/**
 * X.224 connection sequence with the target (MS-RDPBCGR 1.3.1.1).
 *
 * The request carries no cookie: it would tell the account's name in the clear. Throws TargetFailure.
 * INVARIANT: what is selected was asked for.
 */
export async function negotiateSecurity(
  socket: Duplex,
  security: TargetSecurity,
  signal: AbortSignal,
): Promise<NegotiatedSecurity> {
  const requestedProtocols = REQUESTED[security]
  socket.write(encodeX224ConnectionRequest({ negotiation: { flags: 0, requestedProtocols } }))
  const reader = new FrameReader(socket, signal)
  const frame = await reader.next(buffered => pduSize(buffered, 0, buffered.length) || undefined)
  const { negotiation } = decodeX224ConnectionConfirm(frame)
  // Nothing may follow the confirm in the clear: the next byte of the target belongs to TLS.
  if (reader.rest().length > 0) throw new TargetFailure('ERR_TARGET_PROTOCOL', { step: 'x224' })
  if (negotiation === undefined) throw new TargetFailure('ERR_TARGET_SECURITY_TOO_WEAK')
  if (negotiation.type === 'failure') {
    throw new TargetFailure(REFUSALS[negotiation.failureCode] ?? 'ERR_TARGET_PROTOCOL', {
      failure_code: negotiation.failureCode,
    })
  }
  const { selectedProtocol } = negotiation
  if (selectedProtocol === PROTOCOL.RDP) throw new TargetFailure('ERR_TARGET_SECURITY_TOO_WEAK')
  // The request is a set, the answer is one of it (MS-RDPBCGR 2.2.1.2.1).
  if (!SELECTABLE.has(selectedProtocol) || (selectedProtocol & requestedProtocols) === 0) {
    if (security === 'nla' && selectedProtocol === PROTOCOL.SSL)
      throw new TargetFailure('ERR_TARGET_NLA_NOT_OFFERED', { selected_protocol: selectedProtocol })
    throw new TargetFailure('ERR_TARGET_PROTOCOL', { selected_protocol: selectedProtocol })
  }
  return { requestedProtocols, selectedProtocol }
}
