import { KeyProviderError } from '../errors.ts'
import type { SourceLogger } from '../logger.ts'
import { fingerprintOf } from '../private-file.ts'
import type { AuthMethod } from './auth-methods.ts'
import { type Lease, renewalDelayMs } from './lease.ts'
import type { TokenRequests } from './token-requests.ts'

/** How often a token's file is looked at. */
const FILE_CHECK_MS = 1000
/** A 403 soon after the log-in that another 403 led to is a matter of policy, which a further log-in does not change. */
const MIN_REJECTION_INTERVAL_MS = 10_000
const FIRST_BACKOFF_MS = 250
/** At most two log-ins a minute against a server that refuses them. */
const MAX_BACKOFF_MS = 30_000
/** Between two tries to renew while the server does not answer. */
const MIN_RENEWAL_RETRY_MS = 1000

export interface TokenSessionOptions {
  readonly source: string
  readonly method: AuthMethod
  readonly requests: TokenRequests
  readonly logger: SourceLogger | undefined
}

interface Failure {
  readonly error: unknown
  /** Of the files that it came from; others are tried at once. */
  readonly fingerprint: string
  readonly until: number
  readonly count: number
}

/**
 * The token that requests are sent with: obtained at its first use, renewed at two thirds of its life, and obtained
 * again when it cannot be renewed.
 *
 * INVARIANT: however many callers wait, there is one log-in under way, and after a failed one a pause that grows.
 */
export class TokenSession {
  readonly #source: string
  readonly #method: AuthMethod
  readonly #requests: TokenRequests
  readonly #logger: SourceLogger | undefined
  #lease: Lease | undefined
  #expiresAt = Number.POSITIVE_INFINITY
  #rejectedAt = Number.NEGATIVE_INFINITY
  /** Of the files that the lease came from. */
  #fingerprint = ''
  #checkedFileAt = Number.NEGATIVE_INFINITY
  #failure: Failure | undefined
  #obtaining: Promise<Lease> | undefined
  #timer: NodeJS.Timeout | undefined
  #isDestroyed = false

  constructor({ source, method, requests, logger }: TokenSessionOptions) {
    this.#source = source
    this.#method = method
    this.#requests = requests
    this.#logger = logger
  }

  /** The lease to send a request with; its token is the session's and must be sent in the same turn. Throws KeyProviderError. */
  async lease(): Promise<Lease> {
    const lease = this.#lease
    if (lease === undefined || performance.now() >= this.#expiresAt) return await this.#obtain()
    if (await this.#isTokenFileReplaced()) {
      // A file that is half written, or a server that cannot say yet, takes nothing away from the token that is there.
      await this.#obtain().catch(() => {})
    }
    return this.#lease === lease ? lease : await this.lease()
  }

  /** To be called when the server answers 403 to this lease: true when there is another to try once more with. */
  async rejected(lease: Lease): Promise<boolean> {
    if (this.#lease !== lease) return true
    if (!this.#hasLogIn && (await this.#currentFingerprint()) === this.#fingerprint) return false
    if (this.#lease !== lease) return true
    if (this.#hasLogIn) {
      const now = performance.now()
      if (now - this.#rejectedAt < MIN_REJECTION_INTERVAL_MS) return false
      this.#rejectedAt = now
    }
    this.#forget()
    return true
  }

  /** Forgets the token; nothing is revoked, since other processes may share what it was made from. */
  destroy(): void {
    this.#isDestroyed = true
    this.#forget()
  }

  get #hasLogIn(): boolean {
    return this.#method.logInRequest !== undefined
  }

  async #obtain(): Promise<Lease> {
    this.#obtaining ??= this.#obtainOnce().finally(() => {
      this.#obtaining = undefined
    })
    return await this.#obtaining
  }

  async #obtainOnce(): Promise<Lease> {
    // Read before the files are, so that a change in between is seen afterwards.
    const fingerprint = await this.#currentFingerprint()
    const failure = this.#failure
    if (failure !== undefined && performance.now() < failure.until && fingerprint === failure.fingerprint) {
      throw failure.error
    }
    try {
      const lease = await this.#requests.obtain()
      this.#adopt(lease, fingerprint)
      return lease
    } catch (error) {
      if (this.#isDestroyed) throw error
      const count = (failure?.count ?? 0) + 1
      const pauseMs = Math.min(FIRST_BACKOFF_MS * 2 ** (count - 1), MAX_BACKOFF_MS)
      this.#failure = { error, fingerprint, count, until: performance.now() + pauseMs * (0.5 + Math.random() / 2) }
      this.#warn('vault_log_in_failed', 'Vault log-in failed', { err: error })
      throw error
    }
  }

  #adopt(lease: Lease, fingerprint: string): void {
    if (this.#isDestroyed) {
      lease.token.fill(0)
      throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { source: this.#source })
    }
    this.#forget()
    this.#failure = undefined
    this.#lease = lease
    this.#fingerprint = fingerprint
    const { ttlSeconds, isRenewable } = lease
    this.#logger?.info(
      {
        event: 'vault_logged_in',
        source: this.#source,
        method: this.#method.name,
        ttl_s: ttlSeconds,
        renewable: isRenewable,
      },
      'Vault token obtained',
    )
    this.#hold(lease, ttlSeconds, isRenewable)
  }

  /** Keeps the lease for so long, and plans what comes at two thirds of that. */
  #hold(lease: Lease, ttlSeconds: number, isRenewable: boolean): void {
    if (ttlSeconds === 0) return
    this.#expiresAt = performance.now() + ttlSeconds * 1000
    this.#plan(renewalDelayMs(ttlSeconds, Math.random()), () =>
      isRenewable ? this.#renew(lease) : this.#replace(lease),
    )
  }

  #plan(delayMs: number, act: () => Promise<void>): void {
    clearTimeout(this.#timer)
    if (this.#isDestroyed) return
    this.#timer = setTimeout(() => void act(), delayMs)
    this.#timer.unref()
  }

  async #renew(lease: Lease): Promise<void> {
    try {
      const { ttlSeconds, isRenewable } = await this.#requests.renew(lease.token)
      if (this.#lease !== lease) return
      // Close to its maximum life a token gets less and less time.
      if (ttlSeconds < lease.ttlSeconds / 2) return await this.#replace(lease)
      this.#hold(lease, ttlSeconds, isRenewable)
    } catch (error) {
      if (this.#lease !== lease) return
      this.#warn('vault_renewal_failed', 'Vault token was not renewed', { err: error })
      const leftMs = this.#expiresAt - performance.now()
      const mayRecover = error instanceof KeyProviderError && error.code === 'ERR_KEY_UNAVAILABLE'
      if (!mayRecover || leftMs < MIN_RENEWAL_RETRY_MS) return await this.#replace(lease)
      this.#plan(Math.max(leftMs / 3, MIN_RENEWAL_RETRY_MS), () => this.#renew(lease))
    }
  }

  /** Another token before this one ends. Where that fails, this one is used to its end, and the next use obtains one. */
  async #replace(lease: Lease): Promise<void> {
    if (this.#lease !== lease) return
    if (!this.#hasLogIn && (await this.#currentFingerprint()) === this.#fingerprint) {
      const left = Math.max(0, Math.round((this.#expiresAt - performance.now()) / 1000))
      this.#warn('vault_token_ends', 'Vault token ends and cannot be renewed; put a new one into its file', {
        left_s: left,
      })
      return
    }
    await this.#obtain().catch(() => {})
  }

  /** For a token that comes from a file: whether the file is another by now. */
  async #isTokenFileReplaced(): Promise<boolean> {
    if (this.#hasLogIn || performance.now() - this.#checkedFileAt < FILE_CHECK_MS) return false
    this.#checkedFileAt = performance.now()
    return (await this.#currentFingerprint()) !== this.#fingerprint
  }

  async #currentFingerprint(): Promise<string> {
    return (await Promise.all(this.#method.files.map(file => fingerprintOf(file.path)))).join('\n')
  }

  #forget(): void {
    clearTimeout(this.#timer)
    const token = this.#lease?.token
    this.#lease = undefined
    this.#expiresAt = Number.POSITIVE_INFINITY
    // A caller that was just given the lease makes its header before this turn ends.
    if (token !== undefined) setImmediate(() => token.fill(0))
  }

  #warn(event: string, message: string, fields: Readonly<Record<string, unknown>>): void {
    this.#logger?.warn({ event, source: this.#source, ...fields }, message)
  }
}
