/** Every way this package refuses. */
export type KeyProviderErrorCode =
  | 'ERR_KEY_SOURCE'
  | 'ERR_KEY_ID_INVALID'
  | 'ERR_KEY_ENCODING'
  | 'ERR_KEY_LENGTH'
  | 'ERR_KEY_WEAK'
  | 'ERR_KEY_FILE_UNREADABLE'
  | 'ERR_KEY_FILE_PERMISSIONS'
  | 'ERR_KEY_UNKNOWN'
  | 'ERR_KEY_EXISTS'
  /** The place of the key does not answer now: sealed, throttled, timed out, not reachable. */
  | 'ERR_KEY_UNAVAILABLE'
  /** The place of the key refuses this service: an operator has to change a policy or a credential. */
  | 'ERR_KEY_FORBIDDEN'
  /** The place of the key has no such key, or not in a form that can be used. */
  | 'ERR_KEY_NOT_FOUND'
  /** The place of the key has it, and does not use this version of it any more. */
  | 'ERR_KEY_VERSION_ARCHIVED'
  | 'ERR_KEY_CONFIGURATION'
  | 'ERR_KEY_DUPLICATE'
  | 'ERR_KEY_DESTROYED'
  | 'ERR_KEY_INPUT_LENGTH'
  | 'ERR_KEY_UNWRAP_FAILED'

/** Whether an operator has to change something: all of them but a place of keys that does not answer now. */
export function isKeyConfigurationError(error: unknown): boolean {
  return error instanceof KeyProviderError && error.code !== 'ERR_KEY_UNAVAILABLE'
}

export type KeyProviderFacts = Readonly<Record<string, string | number>>

export class KeyProviderError extends Error {
  override readonly name = 'KeyProviderError'
  readonly code: KeyProviderErrorCode
  /** Key ids, paths, modes and lengths only. INVARIANT: never key material. */
  readonly facts: KeyProviderFacts

  constructor(code: KeyProviderErrorCode, message: string, facts: KeyProviderFacts = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.facts = facts
  }
}
