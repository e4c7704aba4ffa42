import { setTimeout as delay } from 'node:timers/promises'
import { KeyProviderError } from '../errors.ts'
import { ExchangeFailure, type VaultAnswer, type VaultConnection, type VaultRequest } from './exchange.ts'
import type { Lease } from './lease.ts'
import { isTemporary, refusalOf, standbyOf, unanswered } from './refusals.ts'
import type { TokenSession } from './token-session.ts'

const MAX_TRIES = 3
const FIRST_PAUSE_MS = 50

export interface VaultCall extends VaultRequest {
  /** A word of ours for errors. */
  readonly operation: string
  /** It may be sent again when it is not known whether it was done. */
  readonly isIdempotent: boolean
}

/**
 * Requests with the session's token: tried again within one deadline where that may help, once more with another token
 * after a 403, and with every refusal as a KeyProviderError.
 */
export class VaultClient {
  readonly #source: string
  readonly #connection: VaultConnection
  readonly #session: TokenSession
  readonly #timeoutMs: number
  #isDestroyed = false

  constructor(source: string, connection: VaultConnection, session: TokenSession, timeoutMs: number) {
    this.#source = source
    this.#connection = connection
    this.#session = session
    this.#timeoutMs = timeoutMs
  }

  /**
   * What `read` makes of the answer to a request that was done. Both bodies are zero when this returns or throws.
   * Throws KeyProviderError.
   */
  async call<T>(request: VaultCall, read: (body: Buffer) => T): Promise<T> {
    try {
      return await this.#callUntilDone(request, read)
    } finally {
      request.body?.fill(0)
    }
  }

  destroy(): void {
    this.#isDestroyed = true
    this.#session.destroy()
    this.#connection.destroy()
  }

  async #callUntilDone<T>(request: VaultCall, read: (body: Buffer) => T): Promise<T> {
    const deadline = performance.now() + this.#timeoutMs
    let isNewToken = false
    for (let tries = 1; ; tries++) {
      this.#assertAlive()
      let lease: Lease | undefined
      let error: KeyProviderError
      try {
        lease = await this.#leaseBefore(deadline, request.operation)
        const answer = await this.#connection.send(request, lease.token, deadline - performance.now())
        try {
          if (200 <= answer.status && answer.status < 300) return read(answer.body)
          error = this.#refusal(answer, request)
        } finally {
          answer.body.fill(0)
        }
      } catch (failure) {
        this.#assertAlive()
        error = this.#failure(failure, request.operation)
      }
      if (error.facts.status === 403 && lease !== undefined && !isNewToken && (await this.#session.rejected(lease))) {
        isNewToken = true
        tries -= 1
        continue
      }
      const pauseMs = pauseBefore(error, tries)
      const isUseful = request.isIdempotent && tries < MAX_TRIES && isTemporary(error)
      if (!isUseful || performance.now() + pauseMs >= deadline) throw error
      await delay(pauseMs)
    }
  }

  /** A log-in that another caller began may take longer than this call has. */
  async #leaseBefore(deadline: number, operation: string): Promise<Lease> {
    const limit = new AbortController()
    const late = delay(Math.max(1, deadline - performance.now()), undefined, { signal: limit.signal }).then(() => {
      throw unanswered(new ExchangeFailure('timeout', 'log_in'), operation)
    })
    late.catch(() => {})
    try {
      return await Promise.race([this.#session.lease(), late])
    } finally {
      limit.abort()
    }
  }

  #refusal(answer: VaultAnswer, { operation, path }: VaultCall): KeyProviderError {
    const isStandby = this.#isSameResource(answer.location, path)
    return this.#withSource(isStandby ? standbyOf(answer, operation) : refusalOf(answer, operation))
  }

  /**
   * A standby sends clients to the address that its cluster gives out. Where that is this very address, a load balancer
   * stands before them and the same request may reach the active one. Any other address is not asked: it would get the token.
   */
  #isSameResource(location: string | undefined, path: string): boolean {
    const { origin } = this.#connection
    if (location === undefined || !URL.canParse(location, origin)) return false
    return new URL(location, origin).href === `${origin}/v1/${path}`
  }

  #failure(failure: unknown, operation: string): KeyProviderError {
    if (failure instanceof ExchangeFailure) return this.#withSource(unanswered(failure, operation))
    if (failure instanceof KeyProviderError) return this.#withSource(failure)
    throw failure
  }

  #withSource({ code, message, facts, cause }: KeyProviderError): KeyProviderError {
    return new KeyProviderError(code, message, { source: this.#source, ...facts }, cause === undefined ? {} : { cause })
  }

  #assertAlive(): void {
    if (!this.#isDestroyed) return
    throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { source: this.#source })
  }
}

/** Milliseconds: what the server asks for, or twice as long each time, with jitter. */
function pauseBefore(error: KeyProviderError, tries: number): number {
  const asked = error.facts.retry_after_s
  const own = FIRST_PAUSE_MS * 2 ** (tries - 1) * (0.5 + Math.random())
  return typeof asked === 'number' ? Math.max(asked * 1000, own) : own
}
