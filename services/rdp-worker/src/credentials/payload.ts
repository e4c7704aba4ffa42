import { isUtf8 } from 'node:buffer'
import type { LogonCredentials } from '../target/logon.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const LETTER_U = 0x75
/** Text that one field of TS_INFO_PACKET carries, in UTF-16 code units (MS-RDPBCGR 2.2.1.11.1.1). */
const MAX_UNITS = 255
const FIELDS = new Set(['version', 'protocol', 'username', 'domain', 'password', 'rotation_version'])
const KEY = Buffer.from('"password":"')

/**
 * Reads a credential payload without making a string of the password.
 *
 * The password goes from the JSON bytes straight into a UTF-16LE Buffer that can be zeroed; the rest is parsed with the password cut out.
 * The resolver writes the payload in canonical form (docs/protocols/secret-sealing.md §4); anything else is refused.
 * Throws RangeError. INVARIANT: no part of the input is in an error.
 */
export function readCredentialPayload(payload: Uint8Array): LogonCredentials {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  if (!isUtf8(bytes)) throw new RangeError('payload is not UTF-8')
  // Inside a JSON text a quotation mark is escaped, so this is a member's name and not a part of another value.
  const start = bytes.indexOf(KEY)
  if (start < 0) throw new RangeError('payload has no password')
  const from = start + KEY.length
  const to = endOfString(bytes, from)
  const { username, domain = '' } = parseRest(bytes.subarray(0, from), bytes.subarray(to))
  if (!isName(username) || !isName(domain) || username === '') throw new RangeError('payload is not of version 1')
  return { username, domain, password: utf16OfJsonString(bytes.subarray(from, to)) }
}

/** The payload with an empty password, parsed. */
function parseRest(before: Buffer, after: Buffer): { readonly username?: unknown; readonly domain?: unknown } {
  let rest: unknown
  try {
    rest = JSON.parse(before.toString('utf8') + after.toString('utf8'))
  } catch {
    // The parser's error quotes what it read.
    throw new RangeError('payload is not JSON')
  }
  if (typeof rest !== 'object' || rest === null || Array.isArray(rest)) throw new RangeError('payload is not an object')
  const { version, protocol, password } = rest as Record<string, unknown>
  const isOfVersion1 = version === 1 && protocol === 'rdp' && password === ''
  if (!isOfVersion1 || Object.keys(rest).some(name => !FIELDS.has(name))) {
    throw new RangeError('payload is not of version 1')
  }
  return rest
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_UNITS && value.isWellFormed() && !value.includes('\0')
}

/** Index of the quote that ends the string which begins at `from`. */
function endOfString(bytes: Buffer, from: number): number {
  for (let index = from; index < bytes.length; index++) {
    if (bytes[index] === BACKSLASH) index++
    else if (bytes[index] === QUOTE) return index
  }
  throw new RangeError('payload ends inside the password')
}

/** The letter of a two-character escape, and the character it stands for. */
const ESCAPES: ReadonlyMap<number, number> = new Map([
  [QUOTE, QUOTE],
  [BACKSLASH, BACKSLASH],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
])

/** The content of a JSON string (RFC 8259 §7), UTF-8 with escapes, as UTF-16LE. */
function utf16OfJsonString(content: Buffer): Buffer {
  const units = Buffer.alloc(MAX_UNITS * 2)
  let size = 0
  const put = (unit: number): void => {
    // RDP ends the field with a NUL.
    if (unit === 0) throw new RangeError('password contains NUL')
    if (size === units.length) throw new RangeError('password is too long')
    size = units.writeUInt16LE(unit, size)
  }
  try {
    for (let index = 0; index < content.length; ) index += putCharacter(content, index, put)
    // A Buffer of its own size, so that zeroing it leaves no copy in the larger one.
    const password = Buffer.alloc(size)
    units.copy(password, 0, 0, size)
    return password
  } finally {
    units.fill(0)
  }
}

/** Puts the character or escape at `index`, and gives the bytes it takes. The content is valid UTF-8. */
function putCharacter(content: Buffer, index: number, put: (unit: number) => void): number {
  const first = content[index] as number
  if (first === BACKSLASH) return putEscape(content, index, put)
  if (first < 0x20) throw new RangeError('password contains a bare control character')
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  let point = length === 1 ? first : first & (0x7f >> length)
  for (let next = 1; next < length; next++) point = (point << 6) | ((content[index + next] as number) & 0x3f)
  if (point > 0xffff) {
    put(0xd800 + ((point - 0x10000) >> 10))
    put(0xdc00 + ((point - 0x10000) & 0x3ff))
  } else {
    put(point)
  }
  return length
}

function putEscape(content: Buffer, index: number, put: (unit: number) => void): number {
  const letter = content[index + 1]
  if (letter !== LETTER_U) {
    const unit = letter === undefined ? undefined : ESCAPES.get(letter)
    if (unit === undefined) throw new RangeError('escape is out of form')
    put(unit)
    return 2
  }
  let unit = 0
  // Digit by digit: a string of them would be a part of the password that nobody can zero.
  for (let at = index + 2; at < index + 6; at++) unit = unit * 16 + hexDigit(content[at])
  put(unit)
  return 6
}

function hexDigit(byte: number | undefined): number {
  if (byte !== undefined) {
    if (0x30 <= byte && byte <= 0x39) return byte - 0x30
    const lower = byte | 0x20
    if (0x61 <= lower && lower <= 0x66) return lower - 0x61 + 10
  }
  throw new RangeError('escape is out of form')
}
