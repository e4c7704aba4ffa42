import { KeyProviderError } from '../errors.ts'
import { withPrivateFile } from '../private-file.ts'
import { KEY_BYTES, LocalKeyProvider } from './local-key.ts'

export interface LocalKeySource {
  /** Label of the key: SECRET_ENCRYPTION_KEY_ID. */
  keyId: string
  /** Base64 text of the key: SECRET_ENCRYPTION_KEY_B64. A Buffer is read and left to its owner. */
  base64?: Buffer | string | undefined
  /** File with 32 raw bytes or their base64 text: SECRET_ENCRYPTION_KEY_FILE. */
  file?: string | undefined
  /** Take a file that the group or the world may read or write; for development only. */
  allowOpenPermissions?: boolean
}

/** 44 characters of base64 and some white space around them. */
const MAX_KEY_TEXT_BYTES = 256
const BASE64_CHARACTERS = 44
const OPEN_PERMISSIONS = 0o077

/**
 * Opens the key of the environment: exactly one of `base64` and `file`.
 *
 * Throws KeyProviderError: ERR_KEY_SOURCE for none or both, ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS,
 * ERR_KEY_ENCODING, ERR_KEY_LENGTH, ERR_KEY_WEAK, ERR_KEY_ID_INVALID. Every copy of the key text that this function makes is zeroed.
 */
export async function openLocalKey(source: LocalKeySource): Promise<LocalKeyProvider> {
  const { keyId, base64, file } = source
  if ((base64 === undefined) === (file === undefined)) {
    throw new KeyProviderError('ERR_KEY_SOURCE', 'exactly one key source must be given')
  }
  const key =
    file === undefined ? decodeText(base64 ?? '') : await readKeyFile(file, source.allowOpenPermissions === true)
  return new LocalKeyProvider({ keyId, key, provider: file === undefined ? 'env' : 'file' })
}

function decodeText(text: Buffer | string): Buffer {
  if (typeof text !== 'string') return decodeBase64Key(text)
  const bytes = Buffer.from(text, 'latin1')
  try {
    return decodeBase64Key(bytes)
  } finally {
    bytes.fill(0)
  }
}

async function readKeyFile(path: string, allowOpenPermissions: boolean): Promise<Buffer> {
  const forbiddenMode = allowOpenPermissions ? 0 : OPEN_PERMISSIONS
  return await withPrivateFile({ path, what: 'key file', maxBytes: MAX_KEY_TEXT_BYTES, forbiddenMode }, keyOfFile)
}

function keyOfFile(content: Buffer): Buffer {
  if (content.length !== KEY_BYTES) return decodeBase64Key(content)
  // 32 printable characters are a pass phrase or 16 bytes in hexadecimal, not 256 random bits.
  if (content.every(byte => byte >= 0x20 && byte < 0x7f)) {
    throw new KeyProviderError('ERR_KEY_WEAK', 'key file holds 32 printable characters instead of 32 random bytes')
  }
  return Buffer.from(content)
}

function sextetOf(character: number): number {
  if (character >= 0x41 && character <= 0x5a) return character - 0x41 // A-Z
  if (character >= 0x61 && character <= 0x7a) return character - 0x61 + 26 // a-z
  if (character >= 0x30 && character <= 0x39) return character - 0x30 + 52 // 0-9
  if (character === 0x2b) return 62 // +
  if (character === 0x2f) return 63 // /
  throw new KeyProviderError('ERR_KEY_ENCODING', 'key is not base64')
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

/**
 * Base64 (RFC 4648 §4, with padding) of exactly 32 bytes, with white space around it allowed.
 * Decoded by hand, because Buffer's decoder takes any text and needs it as a string, which cannot be zeroed.
 */
export function decodeBase64Key(text: Buffer): Buffer {
  let start = 0
  let end = text.length
  while (start < end && isSpace(text[start])) start += 1
  while (end > start && isSpace(text[end - 1])) end -= 1
  const length = end - start
  if (length !== BASE64_CHARACTERS || text[end - 1] !== 0x3d) {
    // The number of characters says nothing about the key.
    throw new KeyProviderError('ERR_KEY_LENGTH', 'key text is not the base64 of 32 bytes', {
      expected: BASE64_CHARACTERS,
      received: length,
    })
  }
  const key = Buffer.alloc(KEY_BYTES)
  let bits = 0
  let bitCount = 0
  let size = 0
  try {
    for (const character of text.subarray(start, end - 1)) {
      bits = ((bits << 6) | sextetOf(character)) & 0xffff
      bitCount += 6
      if (bitCount < 8) continue
      bitCount -= 8
      key[size++] = bits >> bitCount
      bits &= (1 << bitCount) - 1
    }
    // 43 characters carry 258 bits; a writer of base64 leaves the last two at zero (§3.5).
    if (bits !== 0) throw new KeyProviderError('ERR_KEY_ENCODING', 'key is not canonical base64')
    return key
  } catch (error) {
    key.fill(0)
    throw error
  }
}
