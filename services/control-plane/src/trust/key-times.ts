import { CLOCK_TOLERANCE_SECONDS, JWKS_MAX_AGE_SECONDS, PURPOSES } from '@rap/token-claims'

/**
 * How long a key is published before it signs, in seconds: a verifier may keep its set for JWKS_MAX_AGE_SECONDS, and a cache
 * between may do the same.
 */
export const PUBLISHED_SECONDS = 2 * JWKS_MAX_AGE_SECONDS

/** A key signs until the transaction that puts the next one in its place is committed, in seconds after `retiring_at`. */
const COMMIT_SECONDS = 5

/** Life of the last token that a key may have signed, in seconds. */
const LONGEST_TOKEN_SECONDS = Math.max(...Object.values(PURPOSES).map(({ maxLifetimeSeconds }) => maxLifetimeSeconds))

/** How long a retiring key still verifies, in seconds: until its last token has ended for every clock, and no longer. */
export const RETIRING_SECONDS = LONGEST_TOKEN_SECONDS + CLOCK_TOLERANCE_SECONDS + COMMIT_SECONDS
