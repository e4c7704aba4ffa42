import { RapError } from './errors.ts'
import { buildPath, type HttpAnswer, type HttpClient, type HttpRequest } from './http.ts'
import { type Me, MeAnswer, TokenGrant } from './model.ts'
import { checked } from './shape.ts'

/** An access token is renewed when it has less than this left, in seconds. */
const RENEW_BEFORE_SECONDS = 30

export interface LoginOptions {
  readonly email: string
  readonly password: string
  /** `cookie` keeps the refresh token out of reach of scripts; it is for browsers on the same origin. Default `body`. */
  readonly refresh?: 'body' | 'cookie'
}

/** What a caller inside the SDK says of a request; the account adds the bearer token. */
export type ApiRequest = Omit<HttpRequest, 'bearer' | 'cookies' | 'timeoutMs'> & { readonly timeoutMs?: number }

interface Tokens {
  readonly access: string
  /** Monotonic time at which a new one should be asked for, in milliseconds. */
  readonly renewAt: number
  readonly refresh: { readonly kind: 'cookie' } | { readonly kind: 'body'; readonly token: string }
}

/**
 * Who is logged in, and the one place that holds tokens.
 *
 * INVARIANT: tokens are in memory only, and at most one refresh runs at a time: a refresh token is for one use, and its
 * second use would log everybody of its family out.
 */
export class Account {
  readonly #http: HttpClient
  readonly #timeoutMs: number
  #tokens: Tokens | undefined
  #refreshing: Promise<void> | undefined
  /** Rises with every log-in and log-out, so that a late answer to an older refresh is dropped. */
  #generation = 0

  constructor(http: HttpClient, timeoutMs: number) {
    this.#http = http
    this.#timeoutMs = timeoutMs
  }

  get loggedIn(): boolean {
    return this.#tokens !== undefined
  }

  async login({ email, password, refresh = 'body' }: LoginOptions): Promise<void> {
    const generation = ++this.#generation
    const answer = await this.#post('/v1/auth/login', { email, password, refresh }, refresh === 'cookie')
    this.#take(answer, refresh, generation)
  }

  /** Logs in again with the cookie of an earlier log-in. Answers false where there is none that holds. */
  async resume(): Promise<boolean> {
    if (this.#tokens !== undefined) return true
    try {
      await this.#single(() => this.#renew({ kind: 'cookie' }))
    } catch (error) {
      if (isRefusedLogin(error)) return false
      throw error
    }
    return this.#tokens !== undefined
  }

  /** Ends the log-in here at once, and on the server as soon as it answers. */
  async logout(): Promise<void> {
    const tokens = this.#tokens
    this.#generation++
    this.#tokens = undefined
    if (tokens === undefined) return
    const body = tokens.refresh.kind === 'body' ? { refresh_token: tokens.refresh.token } : {}
    await this.#post('/v1/auth/logout', body, tokens.refresh.kind === 'cookie', tokens.access)
  }

  async me(): Promise<Me> {
    const { body } = await this.call({ method: 'GET', path: buildPath('/v1/me') })
    const { user, memberships } = checked(MeAnswer, body, 'a user with memberships')
    return { ...user, memberships }
  }

  /** Sends a request as the user; renews the access token before it ends, and once more where the server refuses it. */
  async call(request: ApiRequest): Promise<HttpAnswer> {
    return await this.#authorised(bearer => this.#http.send({ timeoutMs: this.#timeoutMs, ...request, bearer }))
  }

  /** Opens an event stream as the user. */
  async stream(request: ApiRequest): Promise<ReadableStream<Uint8Array>> {
    return await this.#authorised(bearer => this.#http.stream({ timeoutMs: this.#timeoutMs, ...request, bearer }))
  }

  async #authorised<T>(send: (bearer: string) => Promise<T>): Promise<T> {
    if (this.#current().renewAt <= performance.now()) await this.#refresh()
    const used = this.#current().access
    try {
      return await send(used)
    } catch (error) {
      if (!(error instanceof RapError) || error.status !== 401) throw error
      // Another call may have renewed it in the meantime. A refused call was not carried out, so it is safe to send it again.
      if (this.#current().access === used) await this.#refresh()
      return await send(this.#current().access)
    }
  }

  #current(): Tokens {
    if (this.#tokens === undefined) throw new RapError('ERR_NOT_LOGGED_IN', 'nobody is logged in')
    return this.#tokens
  }

  async #refresh(): Promise<void> {
    await this.#single(async () => {
      try {
        await this.#renew(this.#current().refresh)
      } catch (error) {
        if (isRefusedLogin(error)) this.#tokens = undefined
        throw error
      }
    })
  }

  async #single(run: () => Promise<void>): Promise<void> {
    this.#refreshing ??= run().finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
  }

  async #renew(refresh: Tokens['refresh']): Promise<void> {
    const generation = this.#generation
    const body = refresh.kind === 'body' ? { refresh_token: refresh.token } : {}
    const send = () => this.#post('/v1/auth/refresh', body, refresh.kind === 'cookie')
    const answer = refresh.kind === 'cookie' ? await acrossTabs(send) : await send()
    this.#take(answer, refresh.kind, generation)
  }

  #take(answer: HttpAnswer, kind: 'body' | 'cookie', generation: number): void {
    const grant = checked(TokenGrant, answer.body, 'a token grant')
    if (generation !== this.#generation) throw new RapError('ERR_NOT_LOGGED_IN', 'the log-in was ended meanwhile')
    const seconds = Math.max(grant.expires_in - RENEW_BEFORE_SECONDS, grant.expires_in / 2)
    if (kind === 'body' && grant.refresh_token === undefined) {
      throw new RapError('ERR_RESPONSE_INVALID', 'answer has no refresh token')
    }
    this.#tokens = {
      access: grant.access_token,
      renewAt: performance.now() + seconds * 1000,
      refresh: kind === 'cookie' ? { kind } : { kind, token: grant.refresh_token ?? '' },
    }
  }

  async #post(path: string, body: unknown, cookies: boolean, bearer?: string): Promise<HttpAnswer> {
    return await this.#http.send({ method: 'POST', path, body, cookies, bearer, timeoutMs: this.#timeoutMs })
  }
}

function isRefusedLogin(error: unknown): boolean {
  return error instanceof RapError && (error.status === 400 || error.status === 401 || error.status === 403)
}

/** Tabs share one cookie: one at a time may use it, so that none sends a refresh token that another has just used. */
async function acrossTabs<T>(run: () => Promise<T>): Promise<T> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks
  return locks === undefined ? await run() : await locks.request('rap_refresh', run)
}
