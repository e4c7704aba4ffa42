import { KeyProviderError } from '../errors.ts'
import { unreadable, withPrivateFile } from '../private-file.ts'

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
  const forbiddenMode = isPrivate ? OPEN_PERMISSIONS : 0
  const file = { path, what: 'credential file', maxBytes: MAX_CREDENTIAL_BYTES, forbiddenMode } as const
  return await withPrivateFile(file, content => wordOf(path, content))
}

function wordOf(path: string, content: Buffer): Buffer {
  let end = content.length
  while (end > 0 && (content[end - 1] === 0x0a || content[end - 1] === 0x0d)) end -= 1
  const word = content.subarray(0, end)
  if (word.length === 0) throw unreadable({ path, what: 'credential file' }, 'empty')
  const isPlain = word.every(byte => 0x21 <= byte && byte <= 0x7e && byte !== 0x22 && byte !== 0x5c)
  if (!isPlain)
    throw new KeyProviderError('ERR_KEY_ENCODING', 'credential file holds more than one plain word', { path })
  return Buffer.from(word)
}
