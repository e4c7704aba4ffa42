export type Members = Readonly<Record<string, unknown>>

/** A refusal of AWS's JSON 1.1 protocol: `__type` and a message. */
export class KmsRefusal extends Error {
  readonly status: number
  readonly type: string

  constructor(type: string, message: string) {
    super(message)
    this.type = type
    this.status = STATUS[type] ?? 400
  }

  /** The front door writes `Message`, the service behind it `message`. */
  get body(): Members {
    return { __type: this.type, [FRONT_DOOR.has(this.type) ? 'Message' : 'message']: this.message }
  }
}

/** The statuses of the KMS API reference; what is not here is 400. */
const STATUS: Readonly<Record<string, number>> = {
  DependencyTimeoutException: 503,
  DisabledException: 409,
  InternalFailure: 500,
  KMSInternalException: 500,
  KMSInvalidStateException: 409,
  KeyUnavailableException: 500,
  NotFoundException: 404,
  ServiceUnavailable: 503,
}

const FRONT_DOOR = new Set(['AccessDeniedException', 'MissingAuthenticationTokenException'])
