import type { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/**
 * Length determinant of aligned PER, in one or two bytes.
 *
 * Spec: X.691 §10.9. Two bytes carry 15 bits here: real RDP stacks write lengths from 16384 on that way instead of
 * fragmenting, and never fragment. Callers compare the result with the bytes that are there.
 */
export function readPerLength(reader: Reader, field: string): number {
  const first = reader.u8(field)
  return first < 0x80 ? first : ((first & 0x7f) << 8) | reader.u8(field)
}

/** Bytes that `writePerLength` writes for `length`. */
export function perLengthBytes(length: number): number {
  return length < 0x80 ? 1 : 2
}

/** Throws WireError TOO_LARGE above 32767. */
export function writePerLength(writer: Writer, length: number): Writer {
  if (length < 0x80) return writer.u8(length)
  if (length > 0x7fff) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'length does not fit two bytes', {
      structure: 'per',
      field: 'length',
      received: length,
      expected: 0x7fff,
    })
  }
  return writer.u16be(0x8000 | length)
}
