import { CLOSE_REASONS, type CloseReason, publicReason } from '@rap/data-plane-protocol'

/** A connection that goes no further; `reason` is for log and metrics, the client gets `publicReason` of it. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly reason: CloseReason
  /** Stable name of what was found, for the log; never a value that was received. */
  readonly finding: string
  /** The attachment that a token with a good signature names. */
  readonly attachmentId: string | undefined

  constructor(
    reason: CloseReason,
    finding: string,
    options: ErrorOptions & { attachmentId?: string | undefined } = {},
  ) {
    super(CLOSE_REASONS[reason].detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.finding = finding
    this.attachmentId = options.attachmentId
  }

  /** The same refusal, of a client whose token names an attachment. */
  of(attachmentId: string): Refusal {
    return new Refusal(this.reason, this.finding, { cause: this.cause, attachmentId })
  }

  /** What the client is told. The gateway never sees a proof verify, so every client is a stranger to it. */
  get told(): CloseReason {
    return publicReason(this.reason, false)
  }
}
