import { setTimeout as delay } from 'node:timers/promises'
import { type Dispatcher, request as undiciRequest } from 'undici'
import { commonProblems, type JsonValue, ProblemError } from './errors.ts'
import type { Logger } from './log.ts'
import { type TraceContext, traceparentOf } from './trace.ts'

export interface InternalClientOptions {
  /** Scheme, host and port of the peer. */
  baseUrl: string
  agent: Dispatcher
  logger: Logger
  /** Largest answer in bytes; 1 MiB when absent. */
  maxResponseBytes?: number
  /** Time limit of one call with its retries, in milliseconds; 10 s when absent. */
  timeoutMs?: number
}

export interface InternalRequest {
  method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** Starts with `/`; the caller encodes its variable parts. */
  path: string
  body?: unknown
  requestId?: string | undefined
  trace?: TraceContext | undefined
  headers?: Readonly<Record<string, string>>
  signal?: AbortSignal | undefined
  timeoutMs?: number
  /** A POST that may be sent twice without harm says `true`; GET, PUT and DELETE may always. */
  idempotent?: boolean
}

const DEFAULT_MAX_RESPONSE_BYTES = 1024 * 1024
const DEFAULT_TIMEOUT_MS = 10_000
const RETRY_DELAYS_MS = [100, 400]
/** Failures before a connection was there, so the request cannot have been sent. */
const CONNECT_FAILURES = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])
const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT'])
const PROBLEM_CODE = /^ERR_[A-Z0-9_]{1,80}$/
const STANDARD_MEMBERS = new Set(['type', 'title', 'status', 'code', 'detail', 'instance', 'request_id'])

interface Answer {
  readonly statusCode: number
  readonly text: string
  readonly etag: string | undefined
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

function textOf(value: unknown, limit: number): string | undefined {
  return typeof value === 'string' ? value.slice(0, limit) : undefined
}

/** What a peer has under an address, with the ETag (RFC 9110 §8.8.3) that it goes by; `unchanged` where it is the known one. */
export type Tagged<T> =
  | { readonly unchanged: true }
  | { readonly unchanged: false; readonly etag: string; readonly body: T }

/** JSON over mutual TLS to one internal peer, with the peer's problem documents turned back into ProblemErrors. */
export class InternalClient {
  readonly #baseUrl: URL
  readonly #agent: Dispatcher
  readonly #logger: Logger
  readonly #maxResponseBytes: number
  readonly #timeoutMs: number

  constructor({ baseUrl, agent, logger, maxResponseBytes, timeoutMs }: InternalClientOptions) {
    this.#baseUrl = new URL(baseUrl)
    this.#agent = agent
    this.#logger = logger
    this.#maxResponseBytes = maxResponseBytes ?? DEFAULT_MAX_RESPONSE_BYTES
    this.#timeoutMs = timeoutMs ?? DEFAULT_TIMEOUT_MS
  }

  /**
   * Sends one request and answers the parsed JSON (undefined for 204).
   *
   * `T` is the caller's word for the shape: the peer is an authenticated service of the platform. Throws ProblemError:
   * the peer's own code and status for its problems, ERR_UPSTREAM_UNAVAILABLE, or ERR_UPSTREAM_TIMEOUT. A call that
   * `signal` aborts throws the signal's reason.
   */
  async request<T = unknown>(options: InternalRequest): Promise<T> {
    const { statusCode, text } = await this.#exchange(options)
    if (statusCode === 204 || text === '') return undefined as T
    return this.#parsed<T>(text, options)
  }

  /** Asks for something that may be known by its ETag already; an answer without one is no answer. Throws as `request` does. */
  async requestTagged<T = unknown>(
    options: Omit<InternalRequest, 'method' | 'body'>,
    known: string | undefined,
  ): Promise<Tagged<T>> {
    const whole: InternalRequest = {
      ...options,
      method: 'GET',
      headers: { ...options.headers, ...(known !== undefined && { 'if-none-match': known }) },
    }
    const { statusCode, text, etag } = await this.#exchange(whole, known === undefined ? [] : [304])
    if (statusCode === 304) return { unchanged: true }
    if (etag === undefined) throw this.#upstreamProblem(new Error('answer of the peer has no ETag'), whole, false)
    return { unchanged: false, etag, body: this.#parsed<T>(text, whole) }
  }

  #parsed<T>(text: string, options: InternalRequest): T {
    try {
      return parseJson(text) as T
    } catch (error) {
      throw this.#upstreamProblem(error, options, false)
    }
  }

  async #exchange(options: InternalRequest, alsoGood: readonly number[] = []): Promise<Answer> {
    const url = this.#urlOf(options.path)
    const limit = AbortSignal.timeout(options.timeoutMs ?? this.#timeoutMs)
    const signal = options.signal === undefined ? limit : AbortSignal.any([options.signal, limit])
    const mayRetry = options.idempotent ?? (options.method !== 'POST' && options.method !== 'PATCH')
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#send(url, options, { signal, alsoGood })
      } catch (error) {
        options.signal?.throwIfAborted()
        if (error instanceof ProblemError) throw error
        const retryDelay = RETRY_DELAYS_MS[attempt]
        const isConnectFailure = CONNECT_FAILURES.has(codeOf(error) ?? '')
        if (!mayRetry || !isConnectFailure || retryDelay === undefined || limit.aborted) {
          throw this.#upstreamProblem(error, options, limit.aborted)
        }
        // The time limit ends the pause as well; what follows is then the next attempt's failure.
        await delay(retryDelay, undefined, { signal }).catch(() => {})
      }
    }
  }

  /** INVARIANT: the call stays on the peer's origin and on the path as it was written, without dot segments. */
  #urlOf(path: string): URL {
    const { origin } = this.#baseUrl
    // URL parsers take backslashes, tabs and a second slash for the start of another host.
    const url = URL.canParse(path, origin) ? new URL(path, origin) : undefined
    if (url?.origin !== origin || `${url.pathname}${url.search}` !== path) throw new TypeError('path is out of form')
    return url
  }

  async #send(
    url: URL,
    options: InternalRequest,
    { signal, alsoGood }: { signal: AbortSignal; alsoGood: readonly number[] },
  ): Promise<Answer> {
    const { method, body, requestId, trace, headers } = options
    const answer = await undiciRequest(url, {
      dispatcher: this.#agent,
      method,
      signal,
      headers: {
        accept: 'application/json, application/problem+json',
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(requestId !== undefined && { 'x-request-id': requestId }),
        ...(trace !== undefined && { traceparent: traceparentOf(trace) }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await this.#readBounded(answer.body)
    const { statusCode } = answer
    if (statusCode >= 400) throw peerProblem(statusCode, text)
    const isGood = (statusCode >= 200 && statusCode < 300) || alsoGood.includes(statusCode)
    if (!isGood) throw new Error('peer answered with a redirect')
    const { etag } = answer.headers
    return { statusCode, text, etag: typeof etag === 'string' ? etag : undefined }
  }

  async #readBounded(body: AsyncIterable<Buffer>): Promise<string> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of body) {
      size += chunk.length
      // Leaving the loop destroys the stream and with it the connection.
      if (size > this.#maxResponseBytes) throw new Error('answer of the peer is too large')
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  }

  #upstreamProblem(error: unknown, { method, path }: InternalRequest, isTimeLimit: boolean): ProblemError {
    const code = codeOf(error)
    const isTimeout = isTimeLimit || TIMEOUTS.has(code ?? '')
    const facts = { method, host: this.#baseUrl.host, cause_code: code }
    this.#logger.warn(
      { event: 'upstream_failed', method, host: this.#baseUrl.host, path, err: error },
      'upstream failed',
    )
    const problem = isTimeout ? commonProblems.ERR_UPSTREAM_TIMEOUT : commonProblems.ERR_UPSTREAM_UNAVAILABLE
    return problem({ facts, cause: error })
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The syntax error quotes the body, which may hold a credential, so it is not kept.
    throw new Error('answer of the peer is not JSON')
  }
}

/** The peer's problem document as an error of ours; out of form, it becomes ERR_UPSTREAM_UNAVAILABLE. */
function peerProblem(status: number, text: string): ProblemError {
  let document: Record<string, unknown> | undefined
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
      document = parsed as Record<string, unknown>
    }
  } catch {
    // Handled below, together with documents of another form.
  }
  const code = document?.code
  if (document === undefined || typeof code !== 'string' || !PROBLEM_CODE.test(code)) {
    return commonProblems.ERR_UPSTREAM_UNAVAILABLE({
      facts: { received: `status ${status} without a problem document` },
    })
  }
  const extras = Object.entries(document).filter(([name]) => !STANDARD_MEMBERS.has(name))
  return new ProblemError({
    code,
    status,
    title: textOf(document.title, 200) ?? 'The request was refused',
    detail: textOf(document.detail, 1000),
    extras: Object.fromEntries(extras) as Record<string, JsonValue>,
    facts: { upstream: true, upstream_request_id: textOf(document.request_id, 64) },
  })
}
