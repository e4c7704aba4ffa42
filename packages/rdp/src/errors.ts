/** Every way this package refuses its input. */
export type WireErrorCode =
  | 'ERR_WIRE_TRUNCATED'
  | 'ERR_WIRE_INVALID_FIELD'
  | 'ERR_WIRE_TOO_LARGE'
  | 'ERR_WIRE_UNSUPPORTED_VERSION'
  | 'ERR_WIRE_UNEXPECTED_MESSAGE'
  | 'ERR_WIRE_TRAILING_BYTES'
  | 'ERR_WIRE_REFUSED'

/** Sizes, tags and field names. INVARIANT: never payload bytes. */
export interface WireErrorFacts {
  readonly structure: string
  readonly field?: string
  readonly received?: number
  readonly expected?: number
}

/** A refusal of wire input; `structure` and `field` carry the specification's names. */
export class WireError extends Error {
  override readonly name = 'WireError'
  readonly code: WireErrorCode
  readonly facts: WireErrorFacts

  constructor(code: WireErrorCode, message: string, facts: WireErrorFacts, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.facts = facts
  }
}
