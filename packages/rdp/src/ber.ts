import type { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Identifier octets that MCS connect PDUs use. Spec: X.690 §8.1.2. */
export const BER_TAG = { BOOLEAN: 0x01, INTEGER: 0x02, OCTET_STRING: 0x04, ENUMERATED: 0x0a, SEQUENCE: 0x30 } as const

/**
 * Length octets in definite form; not necessarily the shortest, as real clients send 82 00 1a.
 *
 * Spec: X.690 §8.1.3. INVARIANT: the result is at most what is left in `reader`.
 * Throws WireError: TRUNCATED, INVALID_FIELD (indefinite form, more than 4 length bytes).
 */
export function readBerLength(reader: Reader, field: string): number {
  const first = reader.u8(field)
  let length = first
  if (first >= 0x80) {
    const size = first & 0x7f
    if (size === 0 || size > 4) throw invalid(reader, field, 'length form is not supported', first)
    length = 0
    for (let index = 0; index < size; index++) length = length * 256 + reader.u8(field)
  }
  if (length > reader.remaining) {
    throw new WireError('ERR_WIRE_TRUNCATED', 'element is longer than its container', {
      structure: reader.structure,
      field,
      received: reader.remaining,
      expected: length,
    })
  }
  return length
}

/** The content of the next element, which must carry `tag`. */
export function readBerElement(reader: Reader, tag: number, field: string): Uint8Array {
  const received = reader.u8(field)
  if (received !== tag) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'element has another tag', {
      structure: reader.structure,
      field,
      received,
      expected: tag,
    })
  }
  return reader.take(readBerLength(reader, field), field)
}

/**
 * An INTEGER read as unsigned: Windows clients write 65535 as 02 02 ff ff, which X.690 would call -1.
 *
 * Throws WireError INVALID_FIELD when it is empty or has more than 4 significant bytes.
 */
export function readBerUnsigned(reader: Reader, field: string, tag: number = BER_TAG.INTEGER): number {
  const content = readBerElement(reader, tag, field)
  if (content.length === 0 || content.length > 5 || (content.length === 5 && content[0] !== 0)) {
    throw invalid(reader, field, 'number is empty or too long', content.length)
  }
  let value = 0
  for (const byte of content) value = value * 256 + byte
  return value
}

export function writeBerLength(writer: Writer, length: number): Writer {
  if (length < 0x80) return writer.u8(length)
  if (length < 0x100) return writer.u8(0x81).u8(length)
  return writer.u8(0x82).u16be(length)
}

export function writeBerElement(writer: Writer, tag: number, content: Uint8Array): Writer {
  return writeBerLength(writer.u8(tag), content.length).bytes(content)
}

/** A non-negative INTEGER with a leading zero where the first bit would read as a sign. */
export function writeBerUnsigned(writer: Writer, value: number, tag: number = BER_TAG.INTEGER): Writer {
  const content: number[] = []
  let rest = value
  do {
    content.unshift(rest % 256)
    rest = Math.floor(rest / 256)
  } while (rest > 0)
  if ((content[0] ?? 0) >= 0x80) content.unshift(0)
  return writeBerElement(writer, tag, Uint8Array.from(content))
}

function invalid(reader: Reader, field: string, message: string, received: number): WireError {
  return new WireError('ERR_WIRE_INVALID_FIELD', message, { structure: reader.structure, field, received })
}
