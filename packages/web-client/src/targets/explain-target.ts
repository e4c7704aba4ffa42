import { explain } from '../auth/auth.tsx'
import type { ChangeFailure } from '../shell/change-dialog.tsx'

/** Refusals after which what is on the page is not what is on the server. */
const OUT_OF_DATE = new Set([
  'ERR_TARGET_CERTIFICATE_NOT_SEEN',
  'ERR_TARGET_PIN_NOT_FOUND',
  'ERR_TARGET_PIN_APPROVED',
  'ERR_TARGET_ALARM_OTHER',
])

/** A failure of a decision about a target in words. */
export function explainTarget(error: unknown): ChangeFailure {
  const explanation = explain(error)
  const isOutOfDate = OUT_OF_DATE.has(explanation.code)
  return isOutOfDate
    ? {
        ...explanation,
        detail: 'Nothing was changed: it is not as this page shows it any more.',
        remedy: 'Reload, and look again.',
        isOutOfDate,
      }
    : { ...explanation, isOutOfDate }
}

/** Why a certificate was refused, in a few words. */
const REFUSALS: Readonly<Record<string, string>> = {
  ERR_TARGET_CERTIFICATE_UNTRUSTED: 'no trusted authority vouches for it',
  ERR_TARGET_CERTIFICATE_NAME: 'it is for another name',
  ERR_TARGET_CERTIFICATE_EXPIRED: 'it is out of date',
  ERR_TARGET_CERTIFICATE_UNKNOWN: 'nothing is approved yet',
  ERR_TARGET_CERTIFICATE_MISMATCH: 'it is not the approved one',
  ERR_TARGET_CERTIFICATE_REJECTED: 'it is rejected',
  ERR_TARGET_IDENTITY_CHANGED: 'of the alarm',
}

export function refusalOf(code: string): string {
  return REFUSALS[code] ?? code
}

/** A fingerprint as tools print it, with colons, hyphens, spaces or capitals, as plain hexadecimal; undefined where it is none. */
export function plainFingerprint(text: string): string | undefined {
  const plain = text
    .replace(/^sha-?256( fingerprint)?[=:]/i, '')
    .replace(/[\s:-]/g, '')
    .toLowerCase()
  return /^[0-9a-f]{64}$/.test(plain) ? plain : undefined
}
