/** What an operator may know about a key. */
export interface KeyDescription {
  /** Label that is stored beside everything the key has wrapped. */
  readonly key_id: string
  /** Where the key lives: `env`, `file`, and later `vault`, `pkcs11`, `kms`. */
  readonly provider: string
  readonly algorithm: string
}

/**
 * One key-encryption key, wherever it lives.
 *
 * `context` is authenticated and not stored: unwrapping needs the same bytes again, so that a wrapped key which was
 * moved to another row does not open. Callers own the Buffers that they pass in and that they get, and zero them.
 */
export interface KeyProvider {
  readonly keyId: string
  /** Encrypts a data key of 1 to 4096 bytes. Throws KeyProviderError. */
  wrap(dataKey: Buffer, context: Buffer): Promise<Buffer>
  /** The data key again. Throws KeyProviderError UNWRAP_FAILED for another key, another context or changed bytes, without saying which. */
  unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer>
  describe(): KeyDescription
  /** `ok`, or a few words about what is wrong; never throws. */
  health(): Promise<string>
  /** Forgets the key material of this process; every later call throws KEY_DESTROYED. */
  destroy(): void
}

/** Largest data key in bytes: what every kind of provider takes in one call (AWS KMS Encrypt has the same limit). */
export const MAX_DATA_KEY_BYTES = 4096
/** Largest context in bytes. */
export const MAX_CONTEXT_BYTES = 4096

const KEY_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

export function isKeyId(value: string): boolean {
  return KEY_ID.test(value)
}
