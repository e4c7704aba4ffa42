/** Most bytes that one read of a TLS connection gives: the plaintext of one record (RFC 8446 §5.1). */
const RECORD_BYTES = 16_384
/** Largest tail that may be put in front of the next read instead of being sent alone, in bytes. */
export const MAX_CARRY_BYTES = 256
/** A read that ends this close to a full record has more behind it: RdpRelay holds back the head of a PDU at most. */
const FULL_SLACK_BYTES = 32

/** Whoever a tail belongs to. */
export interface TailOwner {
  /** Sends the tail alone; it is a view that is valid during the call. */
  sendTail(bytes: Uint8Array): void
}

/**
 * The one buffer that the reads of every target land in.
 *
 * What is read is handed on, as views, before the next read, so that one buffer serves every relay of an event loop: no memory a
 * session, nothing for the garbage collector, and bytes that are still in the processor's cache when they are encrypted again.
 *
 * It also carries tails. A message of a whole record does not fit a record together with its WebSocket header (RFC 6455 §5.2), and
 * the few bytes beyond would cost a TLS record and a system call each. They are kept and put before the next read, which lands behind
 * MAX_CARRY_BYTES of free room: a few bytes move so that a screen does not have to.
 *
 * INVARIANT: a tail is sent before anything else of its owner, and at the end of the turn of the event loop at the latest.
 */
export class Landing {
  readonly #memory = new Uint8Array(MAX_CARRY_BYTES + RECORD_BYTES)
  /** Where reads land. */
  readonly zone: Uint8Array = this.#memory.subarray(MAX_CARRY_BYTES)
  readonly #tail = new Uint8Array(MAX_CARRY_BYTES)
  #tailBytes = 0
  #owner: TailOwner | undefined
  #scheduled = false

  /**
   * Gives `bytes` with the owner's tail in front of it. Views of the zone are widened in place; what lies before them there has been
   * handed on already. The tail of somebody else, or one that does not fit, is sent first.
   */
  withTail(owner: TailOwner, bytes: Uint8Array): Uint8Array {
    if (this.#tailBytes === 0) return bytes
    const start = bytes.byteOffset - this.#tailBytes
    if (this.#owner !== owner || bytes.buffer !== this.#memory.buffer || start < 0) {
      this.flush()
      return bytes
    }
    const widened = this.#memory.subarray(start, bytes.byteOffset + bytes.length)
    for (let index = 0; index < this.#tailBytes; index++) widened[index] = this.#tail[index] as number
    this.#forget()
    return widened
  }

  /** Keeps the tail of a stream that goes on, and answers true; false where nothing is known to follow, or it is too long. */
  carry(owner: TailOwner, bytes: Uint8Array): boolean {
    if (bytes.length > MAX_CARRY_BYTES || !this.#hasMoreBehind(bytes)) return false
    if (this.#tailBytes > 0) this.flush()
    this.#tail.set(bytes)
    this.#tailBytes = bytes.length
    this.#owner = owner
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        this.flush()
      })
    }
    return true
  }

  /** Sends the tail that is kept, if it is of `owner` or no owner is given. */
  flush(owner?: TailOwner): void {
    const tailOf = this.#owner
    if (tailOf === undefined || (owner !== undefined && owner !== tailOf)) return
    const bytes = this.#tail.subarray(0, this.#tailBytes)
    this.#forget()
    tailOf.sendTail(bytes)
  }

  #hasMoreBehind(bytes: Uint8Array): boolean {
    if (bytes.buffer !== this.#memory.buffer) return false
    return bytes.byteOffset + bytes.length >= this.#memory.length - FULL_SLACK_BYTES
  }

  #forget(): void {
    this.#tailBytes = 0
    this.#owner = undefined
  }
}
