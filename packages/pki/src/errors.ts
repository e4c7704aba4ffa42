/** Every way this package refuses its input. */
export type PkiErrorCode =
  | 'ERR_PKI_INVALID_NAME'
  | 'ERR_PKI_INVALID_VALIDITY'
  | 'ERR_PKI_INVALID_CERTIFICATE'
  | 'ERR_PKI_INVALID_KEY'
  | 'ERR_PKI_NOT_AN_AUTHORITY'
  /** The path length of an authority leaves no room for what would stand below it. */
  | 'ERR_PKI_PATH_LENGTH'
  | 'ERR_PKI_INVALID_CSR'

export interface PkiErrorFacts {
  /** The argument or certificate field that was refused. */
  readonly field?: string
  readonly notBefore?: string
  readonly notAfter?: string
}

/** A certificate was not issued or not read. INVARIANT: no error holds key material. */
export class PkiError extends Error {
  override readonly name = 'PkiError'
  readonly code: PkiErrorCode
  readonly facts: PkiErrorFacts

  constructor(code: PkiErrorCode, message: string, facts: PkiErrorFacts = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.facts = facts
  }
}
