import { UPLOAD_WINDOW_BYTES } from '@rap/data-plane-protocol'

interface Sender {
  /** Offsets of the file. */
  sentTo: number
  acknowledgedTo: number
}

interface Waiter {
  readonly uploadId: string
  readonly bytes: number
  readonly resolve: () => void
}

/**
 * The bytes of all uploads of one connection that are sent and not acknowledged.
 *
 * INVARIANT: they are at most UPLOAD_WINDOW_BYTES. Uploads get room in the order in which they asked, and so take turns.
 */
export class SendWindow {
  readonly #senders = new Map<string, Sender>()
  readonly #waiting: Waiter[] = []
  #inFlight = 0

  /** An upload goes on at `offset`. */
  begin(uploadId: string, offset: number): void {
    this.end(uploadId)
    this.#senders.set(uploadId, { sentTo: offset, acknowledgedTo: offset })
  }

  /** Resolves when the next bytes of the upload may be sent, which then count as sent. */
  async room(uploadId: string, bytes: number): Promise<void> {
    await new Promise<void>(resolve => {
      this.#waiting.push({ uploadId, bytes, resolve })
      this.#serve()
    })
  }

  /** Answers false for bytes that were never sent. */
  acknowledge(uploadId: string, offset: number): boolean {
    const sender = this.#senders.get(uploadId)
    if (sender === undefined) return true
    if (offset > sender.sentTo) return false
    this.#inFlight -= Math.max(0, offset - sender.acknowledgedTo)
    sender.acknowledgedTo = Math.max(offset, sender.acknowledgedTo)
    this.#serve()
    return true
  }

  /** The worker has ended the upload: what is still under way does not count there. */
  end(uploadId: string): void {
    const sender = this.#senders.get(uploadId)
    if (sender === undefined) return
    this.#senders.delete(uploadId)
    this.#inFlight -= sender.sentTo - sender.acknowledgedTo
    this.#serve()
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const sender = this.#senders.get(next.uploadId)
      if (sender !== undefined) {
        if (this.#inFlight + next.bytes > UPLOAD_WINDOW_BYTES) return
        this.#inFlight += next.bytes
        sender.sentTo += next.bytes
      }
      this.#waiting.shift()
      next.resolve()
    }
  }
}
