import type { InternalClient } from '@rap/service-kit'

/** Reports in a minute; the control plane takes 300 of one peer. */
const REPORTS_PER_MINUTE = 120
/** Reports that may be under way at once: a slow control plane must not pile them up here. */
const MAX_RUNNING = 8
const MINUTE_MS = 60_000

/** A refused bind, for the audit. INVARIANT: names and ids only, never a token. */
export interface RefusedBind {
  readonly code: string
  readonly finding: string
  /** Known where the token's signature verifies. */
  readonly attachmentId?: string | undefined
  readonly clientAddress: string
  readonly requestId: string
}

export interface RefusalReporterOptions {
  readonly client: Pick<InternalClient, 'request'>
  /** Monotonic clock, in milliseconds. */
  readonly now: () => number
  readonly onOutcome: (outcome: 'sent' | 'failed' | 'dropped') => void
}

/**
 * Tells the control plane of refused binds (`data_plane_bind_refused`), since nobody else sees what the gateway turns away.
 * Bounded, so that a flood of strangers is neither a flood of audit rows nor a queue in memory; what is dropped is counted.
 */
export class RefusalReporter {
  readonly #options: RefusalReporterOptions
  #windowStart = Number.NEGATIVE_INFINITY
  #inWindow = 0
  #running = 0

  constructor(options: RefusalReporterOptions) {
    this.#options = options
  }

  /** Never waits and never throws. */
  report(refused: RefusedBind): void {
    if (!this.#takeTurn()) {
      this.#options.onOutcome('dropped')
      return
    }
    this.#running += 1
    void this.#send(refused).finally(() => {
      this.#running -= 1
    })
  }

  #takeTurn(): boolean {
    const now = this.#options.now()
    if (now - this.#windowStart >= MINUTE_MS) {
      this.#windowStart = now
      this.#inWindow = 0
    }
    if (this.#running >= MAX_RUNNING || this.#inWindow >= REPORTS_PER_MINUTE) return false
    this.#inWindow += 1
    return true
  }

  async #send({ code, finding, attachmentId, clientAddress, requestId }: RefusedBind): Promise<void> {
    const { client, onOutcome } = this.#options
    try {
      await client.request({
        method: 'POST',
        path: '/internal/v1/audit-events',
        requestId,
        body: {
          event: 'data_plane_bind_refused',
          outcome: 'refused',
          code,
          ...(attachmentId !== undefined && { attachment_id: attachmentId }),
          client_address: clientAddress.slice(0, 64),
          details: { finding },
        },
      })
      onOutcome('sent')
    } catch {
      // The client has logged why; a lost report must not end the connection that it speaks of in another way.
      onOutcome('failed')
    }
  }
}
