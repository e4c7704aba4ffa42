import { WireError } from '../errors.ts'
import { pduSize, TPKT_VERSION } from '../framing.ts'

/** Hand the PDU on as it comes. */
export const PASS = 0
/** Swallow the PDU. */
export const DROP = 1
/** Assemble the PDU and give it to `inspect`. */
export const INSPECT = 2
export type Verdict = typeof PASS | typeof DROP | typeof INSPECT

/**
 * Bytes of a slow-path PDU that a verdict may look at: TPKT (4), X.224 (3), MCS (8), share control (6), share data up
 * to compressedType (10), and one to spare.
 */
export const JUDGED_BYTES = 32
/** Fast-path header and length. */
const FASTPATH_JUDGED_BYTES = 3
/** PDUs of our own that wait for the end of a PDU in transit. A side that never ends it can make us hold this much. */
const MAX_WAITING_BYTES = 65_536

/** What one direction of a relay does with its PDUs. */
export interface LaneRules {
  /** Judges the PDU of `size` bytes at `bytes[start]`, of which min(size, JUDGED_BYTES) are there; 3 for fast-path. */
  judge(bytes: Uint8Array, start: number, size: number): Verdict
  /** A whole PDU that was judged INSPECT; valid only during the call. */
  inspect(pdu: Uint8Array): void
  forward(bytes: Uint8Array): void
}

/**
 * One direction of a relay: cuts a byte stream into PDUs and hands on what may pass.
 *
 * The hot path is here. A PDU that passes is never copied: PDUs that lie side by side in a chunk are forwarded as one
 * view of it, and one that is only partly there is forwarded as far as it goes. Only the first bytes of a PDU whose
 * verdict is still open, and PDUs to be inspected, are held.
 * INVARIANT: holds at most 64 KiB of the stream and 64 KiB of PDUs put in by `inject`.
 */
export class Lane {
  readonly #rules: LaneRules
  /** Bytes of the current PDU still to be forwarded. */
  #passing = 0
  /** Bytes of the current PDU still to be swallowed. */
  #dropping = 0
  readonly #head = new Uint8Array(JUDGED_BYTES)
  #headLength = 0
  #held: Uint8Array | undefined
  #heldLength = 0
  #waiting: Uint8Array[] = []
  #waitingBytes = 0

  constructor(rules: LaneRules) {
    this.#rules = rules
  }

  get bufferedBytes(): number {
    return this.#headLength + this.#heldLength + this.#waitingBytes
  }

  /** The first bytes of a PDU are handed on and the rest is not there yet. */
  get isMidPdu(): boolean {
    return this.#passing > 0
  }

  /** Takes the next bytes of the stream. Throws WireError. */
  push(chunk: Uint8Array): void {
    const end = chunk.length
    // Bytes from `run` to `at` pass and have not been handed on yet.
    let run = 0
    let at = 0
    while (at < end) {
      if (this.#passing > 0) {
        const size = Math.min(this.#passing, end - at)
        at += size
        this.#passing -= size
        if (this.#passing === 0 && this.#waitingBytes > 0) {
          this.#rules.forward(chunk.subarray(run, at))
          run = at
          this.#flushWaiting()
        }
      } else if (this.#dropping > 0) {
        if (run < at) this.#rules.forward(chunk.subarray(run, at))
        const size = Math.min(this.#dropping, end - at)
        at += size
        this.#dropping -= size
        run = at
      } else if (this.#held !== undefined || this.#headLength > 0) {
        // Only at the start of a chunk: whatever is held is older than all of it.
        at = this.#held === undefined ? this.#growHead(chunk, at) : this.#growHeld(this.#held, chunk, at)
        run = at
      } else {
        const size = pduSize(chunk, at, end)
        if (size === 0 || end - at < judgedBytes(chunk[at], size)) {
          if (run < at) this.#rules.forward(chunk.subarray(run, at))
          this.#head.set(chunk.subarray(at))
          this.#headLength = end - at
          return
        }
        const verdict = this.#rules.judge(chunk, at, size)
        if (verdict === PASS) {
          this.#passing = size
        } else {
          if (run < at) this.#rules.forward(chunk.subarray(run, at))
          run = at
          if (verdict === DROP) this.#dropping = size
          else if (size <= end - at) {
            at += size
            run = at
            this.#rules.inspect(chunk.subarray(at - size, at))
          } else this.#hold(size)
        }
      }
    }
    // A chunk that passes whole, as nearly all do, needs no view.
    if (run === 0 && end > 0) this.#rules.forward(chunk)
    else if (run < end) this.#rules.forward(chunk.subarray(run, end))
  }

  /** Puts a PDU of our own into the output, at the next end of a PDU. Throws WireError TOO_LARGE. */
  inject(pdu: Uint8Array): void {
    if (this.#passing === 0) {
      this.#rules.forward(pdu)
      return
    }
    if (this.#waitingBytes + pdu.length > MAX_WAITING_BYTES) {
      throw new WireError('ERR_WIRE_TOO_LARGE', 'too much waits for the end of a PDU', {
        structure: 'RdpRelay',
        received: this.#waitingBytes + pdu.length,
        expected: MAX_WAITING_BYTES,
      })
    }
    this.#waiting.push(new Uint8Array(pdu))
    this.#waitingBytes += pdu.length
  }

  #flushWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const pdu of waiting) this.#rules.forward(pdu)
  }

  #hold(size: number): void {
    this.#held = new Uint8Array(size)
    this.#heldLength = 0
  }

  #growHeld(held: Uint8Array, chunk: Uint8Array, at: number): number {
    const size = Math.min(held.length - this.#heldLength, chunk.length - at)
    held.set(chunk.subarray(at, at + size), this.#heldLength)
    this.#heldLength += size
    if (this.#heldLength === held.length) {
      this.#held = undefined
      this.#heldLength = 0
      this.#rules.inspect(held)
    }
    return at + size
  }

  /** Adds bytes to the head until it can be judged; gives the offset of the first byte not used. */
  #growHead(chunk: Uint8Array, start: number): number {
    let at = start
    let size = pduSize(this.#head, 0, this.#headLength)
    while (size === 0 || this.#headLength < judgedBytes(this.#head[0], size)) {
      if (at === chunk.length) return at
      this.#head[this.#headLength++] = chunk[at++] as number
      if (size === 0) size = pduSize(this.#head, 0, this.#headLength)
    }
    const head = this.#head.slice(0, this.#headLength)
    this.#headLength = 0
    const verdict = this.#rules.judge(head, 0, size)
    if (verdict === PASS) {
      this.#passing = size - head.length
      this.#rules.forward(head)
    } else if (verdict === DROP) this.#dropping = size - head.length
    else if (size === head.length) this.#rules.inspect(head)
    else {
      this.#hold(size)
      this.#held?.set(head)
      this.#heldLength = head.length
    }
    return at
  }
}

function judgedBytes(first: number | undefined, size: number): number {
  return Math.min(size, first === TPKT_VERSION ? JUDGED_BYTES : FASTPATH_JUDGED_BYTES)
}
