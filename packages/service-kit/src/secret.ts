import { inspect } from 'node:util'

const REDACTED = '[redacted]'

/**
 * A secret value that cannot be printed by accident.
 *
 * The bytes live in a private field. `toString`, `toJSON` and `util.inspect` answer `[redacted]`; the one way to the
 * bytes is `expose()`, so that every reader of a secret can be found with a text search.
 * INVARIANT: after `destroy()` the bytes are zero and `expose()` throws.
 */
export class Secret {
  readonly #bytes: Buffer
  #destroyed = false

  private constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Takes over `value`: a Buffer is not copied, so `destroy()` zeroes the caller's Buffer too; a string is encoded as UTF-8. */
  static from(value: Buffer | string): Secret {
    if (typeof value !== 'string') return new Secret(value)
    // Buffer.from(string) may share the allocation pool, so a private allocation is made first.
    const bytes = Buffer.alloc(Buffer.byteLength(value, 'utf8'))
    bytes.write(value, 'utf8')
    return new Secret(bytes)
  }

  /** Number of bytes. */
  get length(): number {
    return this.#bytes.length
  }

  get destroyed(): boolean {
    return this.#destroyed
  }

  /** The bytes themselves, not a copy. Throws TypeError after `destroy()`. */
  expose(): Buffer {
    if (this.#destroyed) throw new TypeError('secret was destroyed')
    return this.#bytes
  }

  /** Zeroes the bytes; safe to call twice. */
  destroy(): void {
    this.#bytes.fill(0)
    this.#destroyed = true
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  toString(): string {
    return REDACTED
  }

  toJSON(): string {
    return REDACTED
  }

  [inspect.custom](): string {
    return REDACTED
  }
}
