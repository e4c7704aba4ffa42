/** Every way a trust bundle is refused. */
export type TrustBundleErrorCode =
  /** Over a bound, of another form, or with something in it that is no root certificate. */
  | 'ERR_TRUST_BUNDLE_MALFORMED'
  /** Not signed by a root that counts, or a signature that does not hold. */
  | 'ERR_TRUST_BUNDLE_SIGNATURE'
  /** Not the one after the bundle that is held: a number skipped or gone back, another name, trust domain or predecessor. */
  | 'ERR_TRUST_BUNDLE_STEP'
  /** Not the bundle that was asked for, by its hash or its trust domain. */
  | 'ERR_TRUST_BUNDLE_UNEXPECTED'

/** A refused trust bundle; what was held before stays in force. */
export class TrustBundleError extends Error {
  override readonly name = 'TrustBundleError'
  readonly code: TrustBundleErrorCode
  /** The member at fault, where there is one. */
  readonly field: string | undefined

  constructor(code: TrustBundleErrorCode, message: string, field?: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.field = field
  }
}
