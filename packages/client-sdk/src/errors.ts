/** What this package itself refuses or finds wrong; every other `code` is a server's own and passes through as it came. */
export type RapClientErrorCode =
  | 'ERR_OPTION_INVALID'
  | 'ERR_NOT_LOGGED_IN'
  | 'ERR_NETWORK'
  | 'ERR_TLS_UNTRUSTED'
  | 'ERR_TIMEOUT'
  | 'ERR_ABORTED'
  | 'ERR_RESPONSE_INVALID'
  | 'ERR_RESPONSE_TOO_LARGE'
  | 'ERR_NO_CANDIDATE'
  | 'ERR_NO_PATH'
  | 'ERR_TRUST_BUNDLE'
  | 'ERR_DATA_PLANE_CLOSED'
  | 'ERR_DATA_PLANE_PROTOCOL'
  | 'ERR_DATA_PLANE_OVERRUN'
  | 'ERR_CHANNEL_NOT_ALLOWED'
  | 'ERR_FILE_UNREADABLE'

/** Facts of an error beside its code. */
export interface RapErrorFacts {
  /** HTTP status, where an answer came. */
  readonly status?: number | undefined
  /** A sentence for a person. */
  readonly detail?: string | undefined
  /** What the person can do about it. */
  readonly remedy?: string | undefined
  /** Joins this error with the server's log. */
  readonly requestId?: string | undefined
  readonly sessionId?: string | undefined
  /** WebSocket close code (RFC 6455 §7.4), where the data plane was closed. */
  readonly closeCode?: number | undefined
  /** Seconds after which a refused call may be tried again (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds?: number | undefined
  /** A code behind the code, such as `ERR_KEY_UNAVAILABLE` of ERR_MASTER_KEY_PROVIDER. */
  readonly reason?: string | undefined
  /** The version in force, 0 for none, of ERR_SECRET_VERSION_CONFLICT. */
  readonly currentVersion?: number | undefined
  /** The resolvers that ERR_MASTER_KEY_NOT_EVERYWHERE is about. */
  readonly missingOn?: readonly string[] | undefined
  /** Certificates for which ERR_PLATFORM_CA_IN_USE keeps an authority. */
  readonly certificatesInForce?: number | undefined
  /** The certificate that a refusal over a target's identity is about, for those who may decide about it. */
  readonly fingerprintSha256?: string | undefined
}

/**
 * The one error class of the SDK; `code` is stable and is what a program decides on.
 *
 * INVARIANT: neither the message nor a fact holds a token, a password or payload bytes.
 */
export class RapError extends Error {
  override readonly name: string = 'RapError'
  /** A `RapClientErrorCode`, or the stable code that a server gave. */
  readonly code: RapClientErrorCode | (string & {})
  readonly status: number | undefined
  readonly detail: string | undefined
  readonly remedy: string | undefined
  readonly requestId: string | undefined
  readonly sessionId: string | undefined
  readonly closeCode: number | undefined
  readonly retryAfterSeconds: number | undefined
  readonly reason: string | undefined
  readonly currentVersion: number | undefined
  readonly missingOn: readonly string[] | undefined
  readonly certificatesInForce: number | undefined
  readonly fingerprintSha256: string | undefined

  constructor(code: RapError['code'], message: string, facts: RapErrorFacts = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.status = facts.status
    this.detail = facts.detail
    this.remedy = facts.remedy
    this.requestId = facts.requestId
    this.sessionId = facts.sessionId
    this.closeCode = facts.closeCode
    this.retryAfterSeconds = facts.retryAfterSeconds
    this.reason = facts.reason
    this.currentVersion = facts.currentVersion
    this.missingOn = facts.missingOn
    this.certificatesInForce = facts.certificatesInForce
    this.fingerprintSha256 = facts.fingerprintSha256
  }
}

/** How a connection failed before any answer came. A browser cannot tell `tls` from `network`; there it is `network`. */
export type NetworkFailure = 'tls' | 'network' | 'timeout' | 'aborted'

const NETWORK_CODES = {
  tls: 'ERR_TLS_UNTRUSTED',
  network: 'ERR_NETWORK',
  timeout: 'ERR_TIMEOUT',
  aborted: 'ERR_ABORTED',
} as const satisfies Record<NetworkFailure, RapClientErrorCode>

/** No answer came. `failure` says which layer failed; `systemCode` is the platform's own name of it, such as `ECONNREFUSED`. */
export class RapNetworkError extends RapError {
  override readonly name = 'RapNetworkError'
  readonly failure: NetworkFailure
  readonly systemCode: string | undefined

  constructor(
    failure: NetworkFailure,
    message: string,
    options: ErrorOptions & { systemCode?: string | undefined } = {},
  ) {
    super(NETWORK_CODES[failure], message, {}, options.cause === undefined ? undefined : { cause: options.cause })
    this.failure = failure
    this.systemCode = options.systemCode
  }
}
