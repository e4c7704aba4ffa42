/** Why a text value of a payload is not taken. */
export type TextRule = 'malformed' | 'lone_surrogate'

/** What is known of a JSON string literal without decoding it. */
export interface LiteralText {
  /** Offset of the opening quotation mark, and of the byte after the closing one. */
  readonly start: number
  readonly end: number
  /** Length of the decoded text in UTF-16 code units, which is how RDP measures it. */
  readonly units: number
  readonly hasNul: boolean
  /** A C0 control or DELETE, NUL included. */
  readonly hasControl: boolean
  readonly hasEscape: boolean
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const LETTER_U = 0x75
/** `"` `\` `/` and the letters of `\b \f \n \r \t`; the last five stand for control characters. */
const PLAIN_ESCAPES = new Set([QUOTE, BACKSLASH, 0x2f])
const CONTROL_ESCAPES = new Set([0x62, 0x66, 0x6e, 0x72, 0x74])

/**
 * Reads one JSON string literal (RFC 8259 §7) in place: the text is measured, never decoded into a JavaScript string.
 *
 * `bytes` is valid UTF-8 already. Returns the literal, or the rule that it breaks: an escape that stands for half a
 * character would be stored as text that no other program can read.
 */
export function scanText(bytes: Buffer, start: number): LiteralText | TextRule {
  if (bytes[start] !== QUOTE) return 'malformed'
  let units = 0
  let hasNul = false
  let hasControl = false
  let hasEscape = false
  let awaitsLowSurrogate = false
  for (let at = start + 1; at < bytes.length; ) {
    const byte = bytes[at] as number
    if (byte === QUOTE) {
      if (awaitsLowSurrogate) return 'lone_surrogate'
      return { start, end: at + 1, units, hasNul, hasControl, hasEscape }
    }
    if (byte < 0x20) return 'malformed'
    if (byte !== BACKSLASH) {
      if (awaitsLowSurrogate) return 'lone_surrogate'
      // A continuation byte adds nothing; a four-byte sequence is a surrogate pair in UTF-16.
      if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1
      if (byte === 0x7f) hasControl = true
      at += 1
      continue
    }
    hasEscape = true
    const letter = bytes[at + 1]
    if (letter === LETTER_U) {
      const unit = hexUnit(bytes, at + 2)
      if (unit === undefined) return 'malformed'
      const isLow = 0xdc00 <= unit && unit <= 0xdfff
      if (isLow !== awaitsLowSurrogate) return 'lone_surrogate'
      awaitsLowSurrogate = 0xd800 <= unit && unit <= 0xdbff
      hasNul ||= unit === 0
      hasControl ||= unit < 0x20 || unit === 0x7f
      at += 6
    } else {
      if (awaitsLowSurrogate) return 'lone_surrogate'
      const isControl = letter !== undefined && CONTROL_ESCAPES.has(letter)
      if (!isControl && !(letter !== undefined && PLAIN_ESCAPES.has(letter))) return 'malformed'
      hasControl ||= isControl
      at += 2
    }
    units += 1
  }
  return 'malformed'
}

/** The four hexadecimal digits of a `\u` escape, or undefined where they are not all there. */
function hexUnit(bytes: Buffer, at: number): number | undefined {
  if (at + 4 > bytes.length) return undefined
  let unit = 0
  for (let i = at; i < at + 4; i++) {
    const digit = hexDigit(bytes[i] as number)
    if (digit === undefined) return undefined
    unit = unit * 16 + digit
  }
  return unit
}

function hexDigit(byte: number): number | undefined {
  if (0x30 <= byte && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return 0x61 <= lower && lower <= 0x66 ? lower - 0x61 + 10 : undefined
}
