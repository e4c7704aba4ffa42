import { KeyProviderError } from '../errors.ts'
import { withPrivateFile } from '../private-file.ts'

/** No token takes a longer one. */
const MAX_PIN_BYTES = 255
const OPEN_PERMISSIONS = 0o077

/**
 * The PIN of a file, without the line break at its end. The caller zeroes it.
 *
 * Throws KeyProviderError ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS and, for an empty file or a long one, ERR_KEY_LENGTH.
 */
export async function readPinFile(path: string, allowOpenPermissions: boolean): Promise<Uint8Array<ArrayBuffer>> {
  const forbiddenMode = allowOpenPermissions ? 0 : OPEN_PERMISSIONS
  // Two bytes for a line break, and one more that tells a PIN which is too long.
  const file = { path, what: 'PIN file', maxBytes: MAX_PIN_BYTES + 3, forbiddenMode } as const
  return await withPrivateFile(file, content => {
    const end = withoutLineBreak(content)
    if (end < 1 || end > MAX_PIN_BYTES) {
      throw new KeyProviderError('ERR_KEY_LENGTH', 'PIN file holds no PIN', { path, min: 1, max: MAX_PIN_BYTES })
    }
    return Uint8Array.from(content.subarray(0, end))
  })
}

function withoutLineBreak(content: Buffer): number {
  let end = content.length
  if (content[end - 1] === 0x0a) end -= 1
  if (content[end - 1] === 0x0d) end -= 1
  return end
}
