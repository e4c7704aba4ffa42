import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { KeyProviderError } from '../errors.ts'

/** No token takes a longer one. */
const MAX_PIN_BYTES = 255
const OPEN_PERMISSIONS = 0o077

/**
 * The PIN of a file, without the line break at its end. The caller zeroes it.
 *
 * Throws KeyProviderError ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS and, for an empty file or a long one, ERR_KEY_LENGTH.
 */
export async function readPinFile(path: string, allowOpenPermissions: boolean): Promise<Uint8Array<ArrayBuffer>> {
  let handle: FileHandle
  try {
    // O_NONBLOCK keeps a named pipe from blocking; it changes nothing for a regular file.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    throw new KeyProviderError('ERR_KEY_FILE_UNREADABLE', 'PIN file cannot be read', { path }, { cause })
  }
  const content = Buffer.alloc(MAX_PIN_BYTES + 3)
  try {
    const stats = await handle.stat()
    if (!stats.isFile())
      throw new KeyProviderError('ERR_KEY_FILE_UNREADABLE', 'PIN file is not a regular file', { path })
    if (!allowOpenPermissions && (stats.mode & OPEN_PERMISSIONS) !== 0) {
      const mode = (stats.mode & 0o777).toString(8).padStart(4, '0')
      throw new KeyProviderError('ERR_KEY_FILE_PERMISSIONS', 'PIN file is open to others', { path, mode })
    }
    const { bytesRead } = await handle.read(content, 0, content.length, 0)
    const end = withoutLineBreak(content.subarray(0, bytesRead))
    if (end < 1 || end > MAX_PIN_BYTES) {
      throw new KeyProviderError('ERR_KEY_LENGTH', 'PIN file holds no PIN', { path, min: 1, max: MAX_PIN_BYTES })
    }
    return Uint8Array.from(content.subarray(0, end))
  } finally {
    content.fill(0)
    await handle.close()
  }
}

/** Changes whenever the file does; says nothing about what it holds. */
export async function pinFileVersion(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(':')
  } catch {
    return 'unreadable'
  }
}

function withoutLineBreak(content: Buffer): number {
  let end = content.length
  if (content[end - 1] === 0x0a) end -= 1
  if (content[end - 1] === 0x0d) end -= 1
  return end
}
