import { WireError } from '../errors.ts'

/** High byte of U+FFFD; the low one is 0xfd. */
const REPLACEMENT_HIGH = 0xff
const REPLACEMENT_LOW = 0xfd

/**
 * Bytes of a CF_UNICODETEXT up to its first NUL, or all of it where there is none.
 *
 * Throws WireError: INVALID_FIELD (half a unit at the end of a text without NUL).
 */
export function unicodeTextBytes(data: Uint8Array): number {
  const whole = data.length & ~1
  for (let at = 0; at < whole; at += 2) if (data[at] === 0 && data[at + 1] === 0) return at
  if (whole === data.length) return whole
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'text ends in half a unit', {
    structure: 'CLIPRDR_FORMAT_DATA_RESPONSE',
    field: 'requestedFormatData',
    received: data.length,
  })
}

/** Puts U+FFFD in the place of every surrogate without its other half. UTF-16LE, an even number of bytes, changed in place. */
export function replaceLoneSurrogates(text: Uint8Array): void {
  for (let at = 1; at < text.length; at += 2) {
    const high = text[at] as number
    if ((high & 0xf8) !== 0xd8) continue
    // A leading surrogate with its trailing one behind it.
    if (high < 0xdc && ((text[at + 2] ?? 0) & 0xfc) === 0xdc) at += 2
    else {
      text[at - 1] = REPLACEMENT_LOW
      text[at] = REPLACEMENT_HIGH
    }
  }
}
