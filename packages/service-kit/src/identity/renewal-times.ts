/** Certificates begin this long before they are issued, for peers whose clocks are behind. */
const ISSUED_BACK_MS = 5 * 60_000
/** Renewal begins after this part of the life, give or take a tenth of it. */
const RENEW_AT = 2 / 3
const JITTER = 1 / 10
/** A renewal that is this part of the life late is an operator's business. */
const OVERDUE_AFTER = 1 / 12

export interface RenewalTimes {
  /** Milliseconds since the epoch. */
  readonly renewAt: number
  readonly overdueAt: number
}

/** When a certificate is renewed, and when that is overdue. `random` is from 0 to 1. INVARIANT: both are before its end. */
export function renewalTimes(
  { notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number },
  random: number,
): RenewalTimes {
  const issuedAt = Math.min(notBefore + ISSUED_BACK_MS, notAfter)
  const life = notAfter - issuedAt
  const renewAt = issuedAt + life * RENEW_AT * (1 - JITTER + 2 * JITTER * random)
  return { renewAt, overdueAt: Math.min(renewAt + life * OVERDUE_AFTER, notAfter) }
}

/** The pause after the n-th failure in a row (from 1), in milliseconds: doubled each time up to a bound, and up to a fifth shorter. */
export function retryPause(failures: number, first: number, longest: number, random: number): number {
  return Math.min(longest, first * 2 ** Math.min(failures - 1, 30)) * (1 - 0.2 * random)
}
