/** Why a service has no platform identity. */
export type IdentityErrorCode =
  /** A file of the identity is corrupt, truncated or of another identity. */
  | 'ERR_IDENTITY_FILE'
  /** A file of the identity cannot be read or written. */
  | 'ERR_IDENTITY_STORAGE'
  /** There is no certificate that could be used, and nothing to get one with. */
  | 'ERR_IDENTITY_ENDED'
  /** No join token, or one that is out of form. */
  | 'ERR_IDENTITY_JOIN_TOKEN'
  /** The control plane enrols nobody with this token. */
  | 'ERR_IDENTITY_ENROLMENT_REFUSED'
  /** The trust bundle is not the one that the join token names. */
  | 'ERR_IDENTITY_TRUST_BUNDLE'
  /** The clocks of this machine and of the control plane are too far apart. */
  | 'ERR_IDENTITY_CLOCK'
  /** The control plane issued a certificate that is not the one that was asked for. */
  | 'ERR_IDENTITY_CERTIFICATE'
  /** The control plane gave no answer that can be used. */
  | 'ERR_IDENTITY_UNREACHABLE'

/** Codes after which a restart of the process finds the same thing again, until somebody changes something. */
const LASTING: ReadonlySet<IdentityErrorCode> = new Set([
  'ERR_IDENTITY_FILE',
  'ERR_IDENTITY_ENDED',
  'ERR_IDENTITY_JOIN_TOKEN',
  'ERR_IDENTITY_ENROLMENT_REFUSED',
  'ERR_IDENTITY_TRUST_BUNDLE',
])

/** A platform identity cannot be had or kept. INVARIANT: neither message nor facts hold key material or a join token. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError'
  readonly code: IdentityErrorCode
  readonly facts: Readonly<Record<string, string | number>>

  constructor(
    code: IdentityErrorCode,
    message: string,
    facts: Readonly<Record<string, string | number>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.code = code
    this.facts = facts
  }

  /** Whether no restart cures it: the process ends with 78 (EX_CONFIG). */
  get isLasting(): boolean {
    return LASTING.has(this.code)
  }
}
