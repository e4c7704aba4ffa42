/**
 * Who wraps and unwraps the keys of this service: a key provider behind one small door.
 *
 * `context` is authenticated with the wrapped key: what was wrapped in one context unwraps in no other.
 */
export interface KeyWrapPort {
  /** The id of the key that new wraps use. */
  readonly activeKeyId: string
  /** Whether a key of this id can unwrap. */
  has(keyId: string): boolean
  /** Wraps up to 4 KiB; the caller keeps, and zeroes, `plaintext`. */
  wrap(keyId: string, plaintext: Buffer, context: Buffer): Promise<Buffer>
  /** A fresh buffer that the caller zeroes; undefined where the key is unknown or the wrapped bytes do not open. */
  unwrap(keyId: string, wrapped: Buffer, context: Buffer): Promise<Buffer | undefined>
}
