import { KeyProviderError, type KeyRing, type WrappedKey } from '@rap/key-provider'

/** What this service asks of its key ring; a `KeyRing` fits, whatever provider stands behind it. */
export type KeyWrapPort = Pick<
  KeyRing,
  'has' | 'key' | 'wrap' | 'generateDataKey' | 'unwrap' | 'rewrap' | 'health' | 'source' | 'sources'
>

/** The key is not in the ring or archived, or the wrapped bytes are not of this key and context: waiting does not help. */
const DOES_NOT_OPEN = new Set([
  'ERR_KEY_UNKNOWN',
  'ERR_KEY_UNWRAP_FAILED',
  'ERR_KEY_INPUT_LENGTH',
  'ERR_KEY_VERSION_ARCHIVED',
])

/** Whether a provider says of these wrapped bytes, and not of itself, that they do not open. */
export function doesNotOpen(error: unknown): error is KeyProviderError {
  return error instanceof KeyProviderError && DOES_NOT_OPEN.has(error.code)
}

/**
 * A fresh buffer that the caller zeroes; undefined where the wrapped key does not open here.
 * What a provider throws about itself (it is not there, it does not answer) passes through.
 */
export async function unwrapKey(keys: KeyWrapPort, wrapped: WrappedKey, context: Buffer): Promise<Buffer | undefined> {
  try {
    return await keys.unwrap(wrapped, context)
  } catch (err) {
    if (doesNotOpen(err)) return undefined
    throw err
  }
}
