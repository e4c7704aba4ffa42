import { KeyProviderError } from '../errors.ts'
import type { AuthMethod } from './auth-methods.ts'
import { readCredential } from './credential-file.ts'
import { ExchangeFailure, type VaultAnswer, type VaultConnection, type VaultRequest } from './exchange.ts'
import { jsonObject } from './json-bytes.ts'
import { type Lease, leaseOfLogin, leasePeriod } from './lease.ts'
import { outOfForm, refusalOf, unanswered } from './refusals.ts'

/** The requests about tokens: log-in, look-up, renewal. None is sent twice: a secret id may be good for one use. */
export class TokenRequests {
  readonly #connection: VaultConnection
  readonly #method: AuthMethod
  readonly #timeoutMs: number

  constructor(connection: VaultConnection, method: AuthMethod, timeoutMs: number) {
    this.#connection = connection
    this.#method = method
    this.#timeoutMs = timeoutMs
  }

  /** A token from the method's files, by a log-in where the method has one. Throws KeyProviderError. */
  async obtain(): Promise<Lease> {
    const request = await this.#method.logInRequest?.()
    if (request === undefined) return await this.#tokenOfFile()
    try {
      const answer = await this.#send(request, undefined, 'login')
      try {
        return leaseOfLogin(answer.body) ?? raise(outOfForm('login', 'auth'))
      } finally {
        answer.body.fill(0)
      }
    } catch (error) {
      // A refused credential comes back as 400 from AppRole, and as 403 from others.
      if (error instanceof KeyProviderError && error.facts.status === 400) {
        throw new KeyProviderError('ERR_KEY_FORBIDDEN', 'the server refuses the log-in', {
          ...error.facts,
          reason: 'credential',
        })
      }
      throw error
    } finally {
      request.body.fill(0)
    }
  }

  /** The lease's time from now on. Throws KeyProviderError. */
  async renew(token: Buffer): Promise<Omit<Lease, 'token'>> {
    const answer = await this.#send(
      { method: 'POST', path: 'auth/token/renew-self', body: jsonObject({}) },
      token,
      'renew',
    )
    try {
      return leasePeriod(answer.body, 'auth', 'lease_duration') ?? raise(outOfForm('renew', 'auth.lease_duration'))
    } finally {
      answer.body.fill(0)
    }
  }

  async #tokenOfFile(): Promise<Lease> {
    const [file] = this.#method.files
    if (file === undefined) throw new TypeError('a method without log-in has a file')
    const token = await readCredential(file)
    try {
      const answer = await this.#send({ method: 'GET', path: 'auth/token/lookup-self' }, token, 'lookup')
      try {
        const period = leasePeriod(answer.body, 'data', 'ttl') ?? raise(outOfForm('lookup', 'data.ttl'))
        return { token, ...period }
      } finally {
        // It repeats the token.
        answer.body.fill(0)
      }
    } catch (error) {
      // A policy may leave the look-up out. A token that is no good shows at its first use.
      if (error instanceof KeyProviderError && error.code === 'ERR_KEY_FORBIDDEN') {
        return { token, ttlSeconds: 0, isRenewable: false }
      }
      token.fill(0)
      throw error
    }
  }

  async #send(request: VaultRequest, token: Buffer | undefined, operation: string): Promise<VaultAnswer> {
    let answer: VaultAnswer
    try {
      answer = await this.#connection.send(request, token, this.#timeoutMs)
    } catch (error) {
      throw error instanceof ExchangeFailure ? unanswered(error, operation) : error
    }
    if (200 <= answer.status && answer.status < 300) return answer
    const refusal = refusalOf(answer, operation)
    answer.body.fill(0)
    throw refusal
  }
}

function raise(error: Error): never {
  throw error
}
