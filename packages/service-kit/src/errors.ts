import type { AuditEvent } from './audit.ts'

/** Facts for the log: sizes, names and codes only. INVARIANT: never payload bytes, tokens or secrets. */
export type ProblemFacts = Readonly<Record<string, string | number | boolean | null | undefined>>

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue }

export interface ProblemInit {
  code: string
  status: number
  title: string
  /** A sentence for the client. */
  detail?: string | undefined
  facts?: ProblemFacts | undefined
  /** Extension members of the problem document (RFC 9457 §3.2), sent to the client as they are. */
  extras?: Readonly<Record<string, JsonValue>> | undefined
  /** What `buildServer`'s `onRefusal` hook writes into the audit when this error leaves a route. */
  audit?: Partial<AuditEvent> | undefined
  cause?: unknown
}

/**
 * An error that a client may see, as a problem document (RFC 9457).
 *
 * `title`, `detail` and `extras` reach the client; `facts`, `cause` and the stack reach the log only.
 */
export class ProblemError extends Error {
  override readonly name = 'ProblemError'
  readonly code: string
  readonly status: number
  readonly title: string
  readonly detail: string | undefined
  readonly facts: ProblemFacts
  readonly extras: Readonly<Record<string, JsonValue>>
  readonly audit: Partial<AuditEvent> | undefined

  constructor(init: ProblemInit) {
    super(init.detail ?? init.title, init.cause === undefined ? undefined : { cause: init.cause })
    this.code = init.code
    this.status = init.status
    this.title = init.title
    this.detail = init.detail
    this.facts = init.facts ?? {}
    this.extras = init.extras ?? {}
    this.audit = init.audit
  }
}

export interface ProblemDefinition {
  readonly status: number
  readonly title: string
  readonly detail?: string
}

export type ProblemOptions = Omit<ProblemInit, 'code' | 'status' | 'title'>
export type ProblemFactory<Codes extends string> = Readonly<Record<Codes, (options?: ProblemOptions) => ProblemError>>

const CODE_PATTERN = /^ERR_[A-Z0-9]+(_[A-Z0-9]+)*$/

/** Makes one factory for each code of a service's table; throws TypeError for a code or a status that is out of form. */
export function defineProblems<const T extends Record<string, ProblemDefinition>>(
  table: T,
): ProblemFactory<keyof T & string> {
  const factories: Record<string, (options?: ProblemOptions) => ProblemError> = {}
  for (const [code, definition] of Object.entries(table)) {
    if (!CODE_PATTERN.test(code)) throw new TypeError(`problem code is out of form: ${code}`)
    if (definition.status < 400 || definition.status > 599) throw new TypeError(`problem status of ${code} is no error`)
    factories[code] = (options = {}) => new ProblemError({ ...definition, ...options, code })
  }
  return Object.freeze(factories) as ProblemFactory<keyof T & string>
}

/** The body of a problem+json answer. */
export interface ProblemDocument {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail?: string
  readonly request_id: string
  readonly [extension: string]: JsonValue | undefined
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json; charset=utf-8'

/** The public half of an error as a problem document; extension members cannot replace the standard ones. */
export function problemDocument(error: ProblemError, requestId: string): ProblemDocument {
  return {
    ...error.extras,
    type: `urn:rap:problem:${error.code}`,
    title: error.title,
    status: error.status,
    code: error.code,
    ...(error.detail !== undefined && { detail: error.detail }),
    request_id: requestId,
  }
}

/** Problems that every service can answer with; `docs/operations/errors.md` explains them to operators. */
export const commonProblems = defineProblems({
  ERR_VALIDATION: { status: 400, title: 'The request does not fit its schema' },
  ERR_BODY_MALFORMED: { status: 400, title: 'The body is not valid JSON' },
  ERR_REQUEST_MALFORMED: { status: 400, title: 'The request is malformed' },
  ERR_UNAUTHENTICATED: { status: 401, title: 'Authentication is required' },
  ERR_FORBIDDEN: { status: 403, title: 'This is not allowed' },
  ERR_MTLS_IDENTITY: { status: 403, title: 'The client certificate does not carry the required identity' },
  ERR_NOT_FOUND: { status: 404, title: 'There is nothing here' },
  ERR_METHOD_NOT_ALLOWED: { status: 405, title: 'The method is not allowed here' },
  ERR_CONFLICT: { status: 409, title: 'The request conflicts with the current state' },
  ERR_BODY_TOO_LARGE: { status: 413, title: 'The body is too large' },
  ERR_UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The media type is not supported' },
  ERR_RATE_LIMITED: { status: 429, title: 'Too many requests' },
  ERR_INTERNAL: { status: 500, title: 'Something went wrong on the server' },
  ERR_UPSTREAM_UNAVAILABLE: { status: 503, title: 'A service behind this one is not available' },
  ERR_UPSTREAM_TIMEOUT: { status: 504, title: 'A service behind this one did not answer in time' },
  ERR_SHUTTING_DOWN: { status: 503, title: 'The service is shutting down' },
})
