/** Every way this package refuses a message. */
export type ProtocolErrorCode = 'ERR_MESSAGE_TOO_LARGE' | 'ERR_MESSAGE_MALFORMED' | 'ERR_MESSAGE_UNKNOWN'

/** A refused message. INVARIANT: neither the message nor `field` holds a value that was received. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly code: ProtocolErrorCode
  /** JSON pointer of the field at fault, where there is one. */
  readonly field: string | undefined

  constructor(code: ProtocolErrorCode, message: string, field?: string) {
    super(message)
    this.code = code
    this.field = field
  }
}
