import { type KeyLookup, keyLookupOf } from '@rap/token-claims'

export interface VerificationKeysOptions {
  /** Brings the key set document; bounded in size and time by its maker. */
  readonly fetchKeySet: () => Promise<unknown>
  /** Monotonic clock, in milliseconds. */
  readonly now: () => number
  readonly onFetch?: (outcome: 'ok' | 'failed', error?: unknown) => void
}

/** A key set is asked for again after this, so that a retired key goes out of use, in milliseconds. */
const MAX_AGE_MS = 5 * 60 * 1000
/** An old key set stays in use for this long while the control plane does not answer, in milliseconds. */
const MAX_STALE_MS = 60 * 60 * 1000
/** Shortest time between two fetches, in milliseconds: tokens with made-up key ids cannot turn us against the control plane. */
export const MIN_FETCH_INTERVAL_MS = 5000

type KeySetLookup = Awaited<ReturnType<typeof keyLookupOf>>

/**
 * The control plane's verification keys: cached, asked for again when a token names an unknown key, at most once in
 * MIN_FETCH_INTERVAL_MS whatever comes in.
 */
export class VerificationKeys {
  readonly #options: VerificationKeysOptions
  #keys: { readonly lookup: KeySetLookup; readonly fetchedAt: number } | undefined
  #lastAttempt = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined

  constructor(options: VerificationKeysOptions) {
    this.#options = options
  }

  /** For `verifyToken`; answers undefined for a key id that the control plane does not know. */
  readonly lookup: KeyLookup = async kid => {
    if (this.#keys === undefined || this.#age() > MAX_AGE_MS || !this.#keys.lookup.kids.includes(kid)) {
      await this.#refresh()
    }
    if (this.#keys === undefined || this.#age() > MAX_STALE_MS) return undefined
    return await this.#keys.lookup(kid)
  }

  /** True once there are keys that may be used. */
  async ready(): Promise<boolean> {
    if (this.#keys === undefined || this.#age() > MAX_AGE_MS) await this.#refresh()
    return this.#keys !== undefined && this.#age() <= MAX_STALE_MS
  }

  #age(): number {
    return this.#keys === undefined ? Number.POSITIVE_INFINITY : this.#options.now() - this.#keys.fetchedAt
  }

  async #refresh(): Promise<void> {
    if (this.#fetching === undefined && this.#options.now() - this.#lastAttempt < MIN_FETCH_INTERVAL_MS) return
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined
    })
    await this.#fetching
  }

  async #fetch(): Promise<void> {
    this.#lastAttempt = this.#options.now()
    try {
      const lookup = await keyLookupOf(await this.#options.fetchKeySet())
      this.#keys = { lookup, fetchedAt: this.#options.now() }
      this.#options.onFetch?.('ok')
    } catch (error) {
      this.#options.onFetch?.('failed', error)
    }
  }
}
