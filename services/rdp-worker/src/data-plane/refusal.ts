import type { CloseReason } from '@rap/data-plane-protocol'

/** A bind that is refused. `verified` says that the client has shown a valid token, so that it may be told more. */
export class BindRefusal extends Error {
  override readonly name = 'BindRefusal'
  readonly reason: CloseReason
  readonly verified: boolean
  /** The precise code, for log and audit. */
  readonly cause_code: string | undefined

  constructor(reason: CloseReason, options: { readonly verified?: boolean; readonly causeCode?: string } = {}) {
    super('bind is refused')
    this.reason = reason
    this.verified = options.verified ?? false
    this.cause_code = options.causeCode
  }
}
