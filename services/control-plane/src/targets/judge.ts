import type { TargetRules } from '../resources/metadata.ts'
import { type Fingerprints, matches, type Pin, stateOf } from './pins.ts'

/** Everything that the judgement over a shown certificate depends on. */
export interface Case {
  readonly mode: TargetRules['certificate_verification_mode']
  readonly shown: Fingerprints
  /** The worker's own word, by the signed order: undefined where it accepted, or the code of its refusal. */
  readonly refusedByWorker: string | undefined
  readonly pins: readonly Pin[]
  /** `certificate_pins` of the resource's metadata: they count as approved. */
  readonly metadataPins: readonly string[]
  readonly hasAlarm: boolean
  /** Public keys of certificates that were accepted at this address before. */
  readonly knownKeys: readonly string[]
}

export interface Judgement {
  /** Undefined where the password may be sent. */
  readonly code: string | undefined
  /** No new session starts until an operator has decided. */
  readonly raisesAlarm: boolean
  /** A staged pin that showed up. */
  readonly promotes: Pin | undefined
}

/** Refusals of a chain that say that another machine answers; an expired certificate is that of a lazy administrator. */
const TELLS_ANOTHER = new Set(['ERR_TARGET_CERTIFICATE_UNTRUSTED', 'ERR_TARGET_CERTIFICATE_NAME'])

/**
 * The second word over a certificate, by what holds now: the worker judged by an order that may be a minute old.
 * INVARIANT: it never accepts what the worker refused.
 */
export function judge({ mode, shown, refusedByWorker, pins, metadataPins, hasAlarm, knownKeys }: Case): Judgement {
  const refuse = (code: string, raisesAlarm = false): Judgement => ({ code, raisesAlarm, promotes: undefined })
  const state = stateOf(pins, metadataPins, shown)
  const isPinned = state === 'approved' || state === 'staged'
  const hasApproved = metadataPins.length > 0 || pins.some(pin => pin.state === 'approved')
  const isAnother =
    mode === 'pinned'
      ? hasApproved && !isPinned
      : TELLS_ANOTHER.has(refusedByWorker ?? '') && knownKeys.length > 0 && !knownKeys.includes(shown.spkiSha256)
  if (state === 'rejected') return refuse('ERR_TARGET_CERTIFICATE_REJECTED', isAnother && !hasAlarm)
  if (hasAlarm) return refuse('ERR_TARGET_IDENTITY_CHANGED')
  if (mode === 'pinned' && !isPinned) {
    return refuse(hasApproved ? 'ERR_TARGET_CERTIFICATE_MISMATCH' : 'ERR_TARGET_CERTIFICATE_UNKNOWN', isAnother)
  }
  if (refusedByWorker !== undefined) return refuse(refusedByWorker, isAnother)
  const staged = pins.filter(pin => pin.state === 'staged' && matches(pin, shown))
  return { code: undefined, raisesAlarm: false, promotes: state === 'staged' ? staged[0] : undefined }
}
