/** What an operator may know about a key. */
export interface KeyDescription {
  /** Label that is stored beside everything the key has wrapped. */
  readonly key_id: string
  /** Where the key lives. */
  readonly provider: 'env' | 'file' | 'vault' | 'pkcs11' | 'aws-kms'
  readonly algorithm: string
  /** Where exactly, for an operator who has several: an address, a slot, an ARN; never a credential. */
  readonly location?: string
}

/** A fresh data key and the bytes to store in its place. */
export interface GeneratedDataKey {
  /** `DATA_KEY_BYTES` long; the caller zeroes it. */
  readonly dataKey: Buffer
  readonly wrapped: Buffer
}

/** Wrapped bytes, and the id of the key that they say wrapped them. */
export interface WrappedKey {
  /** Store it beside `wrapped`: it finds the key again. */
  readonly keyId: string
  readonly wrapped: Buffer
}

/**
 * One key-encryption key, wherever it lives.
 *
 * `context` is authenticated and not stored: unwrapping needs the same bytes again, so that a wrapped key which was
 * moved to another row does not open. The key id is bound in the same way. Callers own the Buffers that they pass in and
 * that they get, and zero them.
 *
 * Every function throws KeyProviderError: ERR_KEY_UNAVAILABLE where asking again later may help, ERR_KEY_FORBIDDEN and
 * ERR_KEY_NOT_FOUND where an operator has to act, ERR_KEY_DESTROYED after `destroy`.
 */
export interface KeyProvider {
  readonly keyId: string
  /** Encrypts a data key of 1 to 4096 bytes. */
  wrap(dataKey: Buffer, context: Buffer): Promise<Buffer>
  /** The data key again. Throws ERR_KEY_UNWRAP_FAILED for another key, another context or changed bytes, without saying which. */
  unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer>
  /** Makes a data key where the key lives; a provider without it gets one of this process's random bytes. */
  generateDataKey?(context: Buffer): Promise<GeneratedDataKey>
  /**
   * Wraps again what another key of the same source wrapped, so that the data key stays where the keys live. Throws as
   * `unwrap` of that other key does, also for bytes that yet another key of the source wrapped.
   */
  rewrap?(from: WrappedKey, context: Buffer): Promise<Buffer>
  describe(): KeyDescription
  /** `ok`, or a few words about what is wrong; never throws. */
  health(): Promise<string>
  /** Forgets the key material of this process; every later call throws ERR_KEY_DESTROYED. */
  destroy(): void
}

/** A 256-bit data key. */
export const DATA_KEY_BYTES = 32
/** Largest data key in bytes: what every kind of provider takes in one call (AWS KMS Encrypt has the same limit). */
export const MAX_DATA_KEY_BYTES = 4096
/** Largest context in bytes. */
export const MAX_CONTEXT_BYTES = 4096

const KEY_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

export function isKeyId(value: string): boolean {
  return KEY_ID.test(value)
}
