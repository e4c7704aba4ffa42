import type { LogonCredentials } from '../target/logon.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Characters that a UTF-16LE password can have; what one field of TS_INFO_PACKET carries (MS-RDPBCGR 2.2.1.11.1.1). */
const MAX_PASSWORD_UNITS = 255

/**
 * Reads a credential payload without making a string of the password.
 *
 * The password goes from the JSON bytes straight into a UTF-16LE Buffer that can be zeroed; the rest is parsed with the password cut out.
 * The resolver writes the payload in canonical form. Throws RangeError without any part of the input.
 */
export function readCredentialPayload(payload: Uint8Array): LogonCredentials {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  const key = Buffer.from('"password":"')
  const start = bytes.indexOf(key)
  if (start < 0) throw new RangeError('payload has no password')
  const from = start + key.length
  const to = endOfString(bytes, from)
  const rest = JSON.parse(bytes.subarray(0, from).toString('utf8') + bytes.subarray(to).toString('utf8')) as Record<
    string,
    unknown
  >
  const { version, protocol, username, domain = '' } = rest
  if (version !== 1 || protocol !== 'rdp' || typeof username !== 'string' || typeof domain !== 'string') {
    throw new RangeError('payload is not of version 1')
  }
  return { username, domain, password: utf16OfJsonString(bytes.subarray(from, to)) }
}

/** Index of the quote that ends the string which begins at `from`. */
function endOfString(bytes: Buffer, from: number): number {
  for (let index = from; index < bytes.length; index++) {
    if (bytes[index] === BACKSLASH) index++
    else if (bytes[index] === QUOTE) return index
  }
  throw new RangeError('payload ends inside the password')
}

const ESCAPES: Readonly<Record<number, number>> = {
  34: 0x22,
  92: 0x5c,
  47: 0x2f,
  98: 0x08,
  102: 0x0c,
  110: 0x0a,
  114: 0x0d,
  116: 0x09,
}

/** The content of a JSON string (RFC 8259 §7), UTF-8 with escapes, as UTF-16LE. */
function utf16OfJsonString(content: Buffer): Buffer {
  const units = Buffer.alloc(MAX_PASSWORD_UNITS * 2)
  let size = 0
  const put = (unit: number): void => {
    if (size === units.length) throw new RangeError('password is too long')
    size = units.writeUInt16LE(unit, size)
  }
  try {
    for (let index = 0; index < content.length; ) {
      const first = content[index] as number
      if (first === BACKSLASH) {
        const kind = content[index + 1] as number
        if (kind === 0x75) {
          const digits = content.subarray(index + 2, index + 6).toString('latin1')
          if (!/^[0-9A-Fa-f]{4}$/.test(digits)) throw new RangeError('escape is out of form')
          put(Number.parseInt(digits, 16))
          index += 6
        } else {
          const unit = ESCAPES[kind]
          if (unit === undefined) throw new RangeError('escape is out of form')
          put(unit)
          index += 2
        }
        continue
      }
      const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
      let point = length === 1 ? first : first & (0x7f >> length)
      for (let next = 1; next < length; next++) point = (point << 6) | ((content[index + next] as number) & 0x3f)
      if (point > 0xffff) {
        put(0xd800 + ((point - 0x10000) >> 10))
        put(0xdc00 + ((point - 0x10000) & 0x3ff))
      } else {
        put(point)
      }
      index += length
    }
    // A Buffer of its own size, so that zeroing it leaves no copy in the larger one.
    const password = Buffer.alloc(size)
    units.copy(password, 0, 0, size)
    return password
  } finally {
    units.fill(0)
  }
}
