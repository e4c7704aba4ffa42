import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { KeyProviderError } from '../errors.ts'

/** A Kubernetes token is below 2 KiB, a token of Vault Enterprise with its state some hundred bytes. */
const MAX_CREDENTIAL_BYTES = 16 * 1024
/** Group read stays possible: Vault Agent writes its token file with 0640. */
const OPEN_PERMISSIONS = 0o027

export interface CredentialFile {
  readonly path: string
  /** False for what is no secret, and for a file whose mode the platform sets. */
  readonly isPrivate: boolean
}

/**
 * The one word in a file: a token, a role or secret id, a JWT. The caller zeroes it.
 *
 * Throws KeyProviderError ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS, and ERR_KEY_ENCODING for characters that
 * would need an escape in a JSON text or end a header.
 */
export async function readCredential({ path, isPrivate }: CredentialFile): Promise<Buffer> {
  const handle = await opened(path)
  const buffer = Buffer.alloc(MAX_CREDENTIAL_BYTES + 1)
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw unreadable(path, 'not a regular file')
    if (isPrivate && (stats.mode & OPEN_PERMISSIONS) !== 0) {
      const mode = (stats.mode & 0o777).toString(8).padStart(4, '0')
      throw new KeyProviderError('ERR_KEY_FILE_PERMISSIONS', 'credential file is open to others', { path, mode })
    }
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
    return wordOf(path, buffer.subarray(0, bytesRead))
  } finally {
    buffer.fill(0)
    await handle.close()
  }
}

/** Tells whether a file is still the one that was read: a rename, a symbolic link or a write changes it. */
export async function fingerprintOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch {
    return 'none'
  }
}

async function opened(path: string): Promise<FileHandle> {
  try {
    // O_NONBLOCK keeps a named pipe from blocking the start; it changes nothing for a regular file.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    throw unreadable(path, 'cannot be opened', { cause })
  }
}

function wordOf(path: string, content: Buffer): Buffer {
  if (content.length > MAX_CREDENTIAL_BYTES) throw unreadable(path, 'too large')
  let end = content.length
  while (end > 0 && (content[end - 1] === 0x0a || content[end - 1] === 0x0d)) end -= 1
  const word = content.subarray(0, end)
  if (word.length === 0) throw unreadable(path, 'empty')
  const isPlain = word.every(byte => 0x21 <= byte && byte <= 0x7e && byte !== 0x22 && byte !== 0x5c)
  if (!isPlain)
    throw new KeyProviderError('ERR_KEY_ENCODING', 'credential file holds more than one plain word', { path })
  return Buffer.from(word)
}

function unreadable(path: string, reason: string, options?: ErrorOptions): KeyProviderError {
  return new KeyProviderError('ERR_KEY_FILE_UNREADABLE', 'credential file cannot be read', { path, reason }, options)
}
