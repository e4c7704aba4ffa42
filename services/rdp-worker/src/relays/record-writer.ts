import type { Landing, TailOwner } from './landing.ts'

/**
 * Payload of a message that fills one TLS record together with its header, in bytes: 16384 of the record (RFC 8446 §5.1), less 4 of the
 * header of a message of this size (RFC 6455 §5.2), less 1, because uWebSockets.js packs what is below 16 KiB only.
 */
export const MESSAGE_BYTES = 16_384 - 4 - 1

/**
 * Cuts a stream of RDP bytes into binary messages of one TLS record each, so that every record costs one system call and none is nearly empty.
 *
 * Message boundaries mean nothing to the peer (docs/protocols/data-plane.md §5). Bytes are handed on as views and never copied, but for tails of a few bytes.
 */
export class RecordWriter implements TailOwner {
  readonly #landing: Landing
  readonly #send: (message: Uint8Array) => void

  constructor(landing: Landing, send: (message: Uint8Array) => void) {
    this.#landing = landing
    this.#send = send
  }

  /** Sends `bytes`, or keeps a tail of it for the next call. */
  write(bytes: Uint8Array): void {
    let rest = this.#landing.withTail(this, bytes)
    while (rest.length >= MESSAGE_BYTES) {
      this.#send(rest.length === MESSAGE_BYTES ? rest : rest.subarray(0, MESSAGE_BYTES))
      rest = rest.subarray(MESSAGE_BYTES)
    }
    if (rest.length > 0 && !this.#landing.carry(this, rest)) this.#send(rest)
  }

  /** Sends what is kept. */
  flush(): void {
    this.#landing.flush(this)
  }

  sendTail(bytes: Uint8Array): void {
    this.#send(bytes)
  }
}
