/** Every way a token or a proof is refused. */
export type TokenErrorCode =
  | 'ERR_TOKEN_TOO_LARGE'
  | 'ERR_TOKEN_MALFORMED'
  | 'ERR_TOKEN_HEADER'
  | 'ERR_TOKEN_UNKNOWN_KEY'
  | 'ERR_TOKEN_SIGNATURE'
  | 'ERR_TOKEN_EXPIRED'
  | 'ERR_TOKEN_NOT_YET_VALID'
  | 'ERR_TOKEN_AUDIENCE'
  | 'ERR_TOKEN_ISSUER'
  | 'ERR_TOKEN_LIFETIME'
  | 'ERR_TOKEN_CLAIMS'
  | 'ERR_PROOF_KEY_MISMATCH'
  | 'ERR_PROOF_TOKEN_MISMATCH'
  | 'ERR_PROOF_URL_MISMATCH'
  | 'ERR_PROOF_STALE'

/** A refused token. INVARIANT: the message and the facts never hold the token or a claim's value. */
export class TokenError extends Error {
  override readonly name = 'TokenError'
  readonly code: TokenErrorCode
  /** The claim or header parameter at fault, where there is one. */
  readonly field: string | undefined

  constructor(code: TokenErrorCode, message: string, field?: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.field = field
  }
}

/** Every way a text with public keys is refused. */
export type VerificationKeyErrorCode =
  | 'ERR_VERIFICATION_KEY_PRIVATE'
  | 'ERR_VERIFICATION_KEY_INVALID'
  | 'ERR_VERIFICATION_KEY_WEAK'
  | 'ERR_VERIFICATION_KEY_COUNT'

/** Public keys that an operator gave and that cannot be used. INVARIANT: the message never holds anything of the text. */
export class VerificationKeyError extends Error {
  override readonly name = 'VerificationKeyError'
  readonly code: VerificationKeyErrorCode

  constructor(code: VerificationKeyErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
