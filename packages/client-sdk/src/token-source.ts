import { RapError } from './errors.ts'
import type { DataPlane } from './model.ts'

/** A token with less than this left is not handed out: the bind has to arrive and be authorised within it, in milliseconds. */
const MIN_REMAINING_MS = 15_000
/** A server clock that differs by less than this is taken to be ours, since the Date header has whole seconds, in milliseconds. */
const CLOCK_NOISE_MS = 2_000

/** How far the server's clock is ahead of `nowMs`; 0 where it is near enough or unknown. */
export function clockOffsetMs(serverTimeMs: number | undefined, nowMs: number): number {
  if (serverTimeMs === undefined) return 0
  const offset = serverTimeMs - nowMs
  return Math.abs(offset) < CLOCK_NOISE_MS ? 0 : offset
}

/** What a session start, an attach and a fresh token bring. */
export interface Grant {
  readonly dataPlane: DataPlane
  readonly clockOffsetMs: number
}

/**
 * Hands out data-plane tokens, each of them once, and asks for a fresh one where the last is used or nearly over.
 * INVARIANT: a token is in one bind only, since a second bind with it is refused as a replay.
 */
export class TokenSource {
  readonly #mint: () => Promise<Grant>
  readonly #nowMs: () => number
  #grant: Grant
  #used = false

  constructor(grant: Grant, mint: () => Promise<Grant>, nowMs: () => number) {
    this.#grant = grant
    this.#mint = mint
    this.#nowMs = nowMs
  }

  /** The candidates as the server named them last. */
  get candidates(): readonly unknown[] {
    return this.#grant.dataPlane.candidates
  }

  /** Time as the server has it, in seconds since the epoch. */
  get nowSeconds(): number {
    return Math.floor((this.#nowMs() + this.#grant.clockOffsetMs) / 1000)
  }

  /** Takes the place of everything before, after an attach. */
  replace(grant: Grant): void {
    this.#grant = grant
    this.#used = false
  }

  /** Makes the next token a fresh one, after a refusal of what is in this one. */
  discard(): void {
    this.#used = true
  }

  /** A token for one bind. Throws RapError where the server refuses a fresh one. */
  async take(): Promise<string> {
    if (this.#used || this.#remainingMs() < MIN_REMAINING_MS) {
      const before = this.#grant
      const fresh = await this.#mint()
      // An attach, or somebody else who asked, was quicker: what this one says may be of the attachment before.
      if (this.#grant !== before) return await this.take()
      this.replace(fresh)
    }
    this.#used = true
    return this.#grant.dataPlane.token
  }

  #remainingMs(): number {
    const expiresAt = Date.parse(this.#grant.dataPlane.expires_at)
    if (Number.isNaN(expiresAt)) throw new RapError('ERR_RESPONSE_INVALID', 'expiry of the token is not a time')
    return expiresAt - (this.#nowMs() + this.#grant.clockOffsetMs)
  }
}
