import { RapError, type RapErrorFacts, RapNetworkError } from './errors.ts'
import type { Platform } from './platform/types.ts'

/** Largest answer that is read, in bytes: bounds what a wrong or hostile server makes us hold. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024
/** Longest text of a problem document that is kept, in characters. */
const MAX_TEXT_CHARACTERS = 1000
const CODE_PATTERN = /^ERR_[A-Z0-9]+(_[A-Z0-9]+)*$/
const REQUEST_ID_PATTERN = /^[\w.:-]{1,128}$/
const FINGERPRINT_PATTERN = /^[0-9a-f]{64}$/
const REASON_PATTERN = /^\w{1,100}$/
/** Host and process of a service. */
const INSTANCE_PATTERN = /^[\w.:-]{1,256}$/
const MAX_INSTANCES = 256

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Absolute path with its query, as `buildPath` makes it. */
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly bearer?: string | undefined
  /** Sends and takes cookies of the same origin; only the log-in calls need them. */
  readonly cookies?: boolean
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

export interface HttpAnswer {
  readonly status: number
  /** Parsed JSON, or undefined where the answer has no body. */
  readonly body: unknown
  readonly etag: string | undefined
  /** The server's clock as its Date header tells it, in milliseconds since the epoch. */
  readonly serverTimeMs: number | undefined
}

/** The one adapter that sends. Both throw RapError: a problem document becomes one with the server's code. */
export interface HttpClient {
  /** Sends a request and reads its JSON answer. */
  send(request: HttpRequest): Promise<HttpAnswer>
  /** Opens an event stream (text/event-stream); `timeoutMs` bounds the wait for its start alone. */
  stream(request: HttpRequest): Promise<ReadableStream<Uint8Array>>
}

export interface HttpOptions {
  readonly baseUrl: URL
  readonly fetch: typeof fetch
  readonly platform: Platform
}

/** A path from fixed text and encoded parts: `buildPath('/v1/resources', [id], { limit: 10 })`. */
export function buildPath(
  base: string,
  segments: readonly string[] = [],
  query: Readonly<Record<string, string | number | undefined>> = {},
): string {
  const path = [base, ...segments.map(segment => encodeURIComponent(segment))].join('/')
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value))
  return parameters.size === 0 ? path : `${path}?${parameters}`
}

/** Makes the adapter; it follows no redirect, so that a bearer token never leaves for another place. */
export function makeHttpClient(options: HttpOptions): HttpClient {
  return {
    async send(request) {
      const timeout = AbortSignal.timeout(request.timeoutMs)
      const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal])
      return await answerOf(await dispatch(options, request, signal), options.platform)
    },
    async stream(request) {
      const start = new AbortController()
      const timer = setTimeout(
        () => start.abort(new DOMException('no answer in time', 'TimeoutError')),
        request.timeoutMs,
      )
      const signal = request.signal === undefined ? start.signal : AbortSignal.any([start.signal, request.signal])
      try {
        const response = await dispatch(options, request, signal)
        const isStream = /^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '')
        if (response.ok && isStream && response.body !== null) return response.body
        await answerOf(response, options.platform)
        throw new RapError('ERR_RESPONSE_INVALID', 'answer is not an event stream', { status: response.status })
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

async function answerOf(response: Response, platform: Platform): Promise<HttpAnswer> {
  const body = parseBody(response, await readBounded(response, platform))
  if (!response.ok) throw problemOf(response, body)
  return {
    status: response.status,
    body,
    etag: response.headers.get('etag') ?? undefined,
    serverTimeMs: serverTimeOf(response),
  }
}

async function dispatch({ baseUrl, fetch, platform }: HttpOptions, request: HttpRequest, signal: AbortSignal) {
  try {
    return await fetch(new URL(request.path, baseUrl).href, {
      method: request.method,
      headers: {
        accept: 'application/json, application/problem+json',
        ...(request.body !== undefined && { 'content-type': 'application/json' }),
        ...(request.bearer !== undefined && { authorization: `Bearer ${request.bearer}` }),
        ...request.headers,
      },
      ...(request.body !== undefined && { body: JSON.stringify(request.body) }),
      redirect: 'error',
      cache: 'no-store',
      credentials: request.cookies ? 'same-origin' : 'omit',
      referrerPolicy: 'no-referrer',
      signal,
    })
  } catch (cause) {
    throw networkErrorOf(cause, platform)
  }
}

const NETWORK_MESSAGES = {
  tls: 'server is not trusted',
  network: 'server cannot be reached',
  timeout: 'server did not answer in time',
  aborted: 'request was aborted',
} as const

function networkErrorOf(cause: unknown, platform: Platform): RapNetworkError {
  const { failure, systemCode } = platform.networkFailureOf(cause)
  return new RapNetworkError(failure, NETWORK_MESSAGES[failure], { cause, systemCode })
}

async function readBounded(response: Response, platform: Platform): Promise<string> {
  if (response.body === null) return ''
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of streamOf(response.body)) {
      size += chunk.length
      if (size > MAX_ANSWER_BYTES)
        throw new RapError('ERR_RESPONSE_TOO_LARGE', 'answer is over the bound', { status: response.status })
      chunks.push(chunk)
    }
  } catch (cause) {
    if (cause instanceof RapError) throw cause
    throw networkErrorOf(cause, platform)
  }
  const whole = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    whole.set(chunk, offset)
    offset += chunk.length
  }
  return new TextDecoder().decode(whole)
}

/** Reads a body with a reader, since not every browser can iterate over a stream; leaving early cancels it. */
export async function* streamOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = body.getReader()
  let done = false
  try {
    while (!done) {
      const step = await reader.read()
      done = step.done
      if (step.value !== undefined) yield step.value
    }
  } finally {
    if (!done) await reader.cancel().catch(() => {})
    reader.releaseLock()
  }
}

function parseBody(response: Response, text: string): unknown {
  if (text === '') return undefined
  const type = response.headers.get('content-type') ?? ''
  if (!/^application\/(problem\+)?json\b/i.test(type)) {
    if (!response.ok) return undefined
    throw new RapError('ERR_RESPONSE_INVALID', 'answer is not JSON', { status: response.status })
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    if (!response.ok) return undefined
    throw new RapError('ERR_RESPONSE_INVALID', 'answer is not JSON', { status: response.status }, { cause })
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, MAX_TEXT_CHARACTERS) : undefined
}

function matching(value: unknown, pattern: RegExp): string | undefined {
  return typeof value === 'string' && value.length <= 128 && pattern.test(value) ? value : undefined
}

/** A refusal without a problem document, as a proxy on the way may give, keeps its status under `ERR_HTTP_<status>`. */
function problemOf(response: Response, body: unknown): RapError {
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const retryAfter = Number(response.headers.get('retry-after') ?? problem.retry_after_seconds ?? Number.NaN)
  const facts: RapErrorFacts = {
    status: response.status,
    detail: textOf(problem.detail),
    remedy: textOf(problem.remedy),
    requestId: matching(problem.request_id, REQUEST_ID_PATTERN),
    sessionId: matching(problem.session_id, REQUEST_ID_PATTERN),
    retryAfterSeconds: Number.isInteger(retryAfter) && 0 <= retryAfter && retryAfter <= 86_400 ? retryAfter : undefined,
    reason: matching(problem.reason, REASON_PATTERN),
    currentVersion: countOf(problem.current_version),
    missingOn: instancesOf(problem.missing_on),
    certificatesInForce: countOf(problem.certificates_in_force),
    fingerprintSha256: matching(problem.fingerprint_sha256, FINGERPRINT_PATTERN),
  }
  const code = matching(problem.code, CODE_PATTERN) ?? `ERR_HTTP_${response.status}`
  return new RapError(code, textOf(problem.title) ?? `server answered ${response.status}`, facts)
}

function countOf(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) >= 0 ? (value as number) : undefined
}

function instancesOf(value: unknown): string[] | undefined {
  if (!Array.isArray(value)) return undefined
  return value.slice(0, MAX_INSTANCES).filter(name => typeof name === 'string' && INSTANCE_PATTERN.test(name))
}

function serverTimeOf(response: Response): number | undefined {
  const time = Date.parse(response.headers.get('date') ?? '')
  return Number.isNaN(time) ? undefined : time
}
