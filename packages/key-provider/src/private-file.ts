import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { KeyProviderError } from './errors.ts'

/** A file that decides about keys or holds part of one. */
export interface PrivateFile {
  readonly path: string
  /** What it is called in errors. */
  readonly what: 'key file' | 'PIN file' | 'credential file' | 'key providers file'
  readonly maxBytes: number
  /** Mode bits that must not be set; 0 takes any. */
  readonly forbiddenMode: number
}

/**
 * Reads a file and hands its content to `use`; the content is zero when this returns or throws.
 *
 * Throws KeyProviderError ERR_KEY_FILE_UNREADABLE (missing, no regular file, too large), ERR_KEY_FILE_PERMISSIONS, and what
 * `use` throws.
 */
export async function withPrivateFile<T>(file: PrivateFile, use: (content: Buffer) => T): Promise<T> {
  const handle = await opened(file)
  const buffer = Buffer.alloc(file.maxBytes + 1)
  try {
    // The open file is asked, not the path, so that nobody can swap it in between.
    const stats = await handle.stat()
    if (!stats.isFile()) throw unreadable(file, 'not a regular file')
    if ((stats.mode & file.forbiddenMode) !== 0) {
      const mode = (stats.mode & 0o777).toString(8).padStart(4, '0')
      throw new KeyProviderError('ERR_KEY_FILE_PERMISSIONS', `${file.what} is open to others`, {
        path: file.path,
        mode,
      })
    }
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
    if (bytesRead > file.maxBytes) throw unreadable(file, 'too large')
    return use(buffer.subarray(0, bytesRead))
  } finally {
    buffer.fill(0)
    await handle.close()
  }
}

/** Changes whenever the file does: a rename, a symbolic link or a write changes it. Says nothing about what it holds. */
export async function fingerprintOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch {
    return 'none'
  }
}

async function opened(file: PrivateFile): Promise<FileHandle> {
  try {
    // O_NONBLOCK keeps a named pipe from blocking the start; it changes nothing for a regular file.
    return await open(file.path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    throw unreadable(file, 'cannot be opened', { cause })
  }
}

/** The error of a file that is of no use. */
export function unreadable({ path, what }: Pick<PrivateFile, 'path' | 'what'>, reason: string, options?: ErrorOptions) {
  return new KeyProviderError('ERR_KEY_FILE_UNREADABLE', `${what} cannot be read: ${reason}`, { path, reason }, options)
}
