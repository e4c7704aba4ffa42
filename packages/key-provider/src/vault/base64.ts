const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', 'latin1')
const PADDING = 0x3d
/** The sextet of a character, or 255 where base64 has none. */
const SEXTETS = Buffer.alloc(256, 255)
for (const [sextet, character] of ALPHABET.entries()) SEXTETS[character] = sextet

/** Base64 (RFC 4648 §4) as bytes. Buffer's own encoder answers a string, which nobody can zero. */
export function encodeBase64(bytes: Buffer): Buffer {
  const text = Buffer.alloc(Math.ceil(bytes.length / 3) * 4, PADDING)
  let at = 0
  for (let from = 0; from < bytes.length; from += 3) {
    const group = ((bytes[from] ?? 0) << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0)
    const characters = Math.min(bytes.length - from, 3) + 1
    for (let index = 0; index < characters; index++) {
      text[at + index] = ALPHABET[(group >> (18 - 6 * index)) & 63] as number
    }
    at += 4
  }
  return text
}

/** The bytes of canonical base64 with padding, or undefined for any other text; nothing of the text is left behind. */
export function decodeBase64(text: Buffer): Buffer | undefined {
  if (text.length % 4 !== 0) return undefined
  let end = text.length
  while (end > 0 && end > text.length - 2 && text[end - 1] === PADDING) end -= 1
  const bytes = Buffer.alloc(Math.floor((end * 3) / 4))
  let bits = 0
  let bitCount = 0
  let size = 0
  for (const character of text.subarray(0, end)) {
    const sextet = SEXTETS[character] as number
    if (sextet === 255) return refused(bytes)
    bits = ((bits << 6) | sextet) & 0xffff
    bitCount += 6
    if (bitCount < 8) continue
    bitCount -= 8
    bytes[size++] = bits >> bitCount
    bits &= (1 << bitCount) - 1
  }
  // A writer of base64 leaves the bits behind the last byte at zero (§3.5).
  return bits === 0 ? bytes : refused(bytes)
}

function refused(bytes: Buffer): undefined {
  bytes.fill(0)
}
