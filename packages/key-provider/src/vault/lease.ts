import { decoded, memberOf, plainString } from './json-bytes.ts'

/** A token of the server and how long it holds. */
export interface Lease {
  /** Zero when the lease was replaced or destroyed. */
  readonly token: Buffer
  /** Whole seconds from when it was given; 0 for a token that does not end. */
  readonly ttlSeconds: number
  readonly isRenewable: boolean
}

/** Longer than any token of Vault or OpenBao (service tokens have 95 bytes, batch tokens and server-side state some hundred). */
const MAX_TOKEN_BYTES = 8192
/** 100 years: past it a number is a mistake. */
const MAX_TTL_SECONDS = 3_153_600_000
/** A timer of Node holds at most 24 days. */
const MAX_DELAY_MS = 7 * 24 * 60 * 60 * 1000

/** The token and its lease of a log-in's answer (`auth`), or undefined where one of them is missing. */
export function leaseOfLogin(body: Buffer): Lease | undefined {
  const token = plainString(memberOf(body, 'auth', 'client_token'))
  const period = leasePeriod(body, 'auth', 'lease_duration')
  if (token === undefined || period === undefined) return undefined
  const isWord =
    token.length > 0 && token.length <= MAX_TOKEN_BYTES && token.every(byte => 0x21 <= byte && byte <= 0x7e)
  return isWord ? { token: Buffer.from(token), ...period } : undefined
}

/** Lifetime and renewability, as log-in and renewal (`auth`) and lookup-self (`data`) tell them. */
export function leasePeriod(
  body: Buffer,
  section: 'auth' | 'data',
  member: 'lease_duration' | 'ttl',
): Omit<Lease, 'token'> | undefined {
  const ttlSeconds = decoded(memberOf(body, section, member))
  const isRenewable = decoded(memberOf(body, section, 'renewable'))
  if (typeof ttlSeconds !== 'number' || !(0 <= ttlSeconds && ttlSeconds <= MAX_TTL_SECONDS)) return undefined
  return { ttlSeconds, isRenewable: isRenewable === true }
}

/**
 * When to renew, in milliseconds from when the lease began: at two thirds of its life, or up to a tenth of its life
 * before, so that services which started together do not renew together. `random` is in [0, 1).
 */
export function renewalDelayMs(ttlSeconds: number, random: number): number {
  return Math.min(ttlSeconds * 1000 * (2 / 3 - random / 10), MAX_DELAY_MS)
}
