import { isUtf8 } from 'node:buffer'
import { type LiteralText, scanText } from './payload-text.ts'

/** Largest secret payload, in bytes: bounds what is decrypted and stored for one resource. */
export const MAX_PAYLOAD_BYTES = 8192

/**
 * Longest username, domain or password, in UTF-16 code units.
 * MS-RDPBCGR 2.2.1.11.1.1 TS_INFO_PACKET: each field has at most 512 bytes with its two-byte terminator.
 */
export const MAX_TEXT_UNITS = 255

/** Every rule that a payload can break; a refusal names the rule and the field, never a value. */
export type PayloadRule =
  | 'too_large'
  | 'not_utf8'
  | 'malformed'
  | 'lone_surrogate'
  | 'unknown_field'
  | 'duplicate_field'
  | 'missing_field'
  | 'wrong_value'
  | 'empty'
  | 'too_long'
  | 'forbidden_character'

/** A secret payload that is not stored. INVARIANT: no byte of the payload is in it. */
export class PayloadError extends Error {
  override readonly name = 'PayloadError'
  readonly code = 'ERR_SECRET_PAYLOAD_INVALID'
  readonly rule: PayloadRule
  readonly field: string | undefined

  constructor(rule: PayloadRule, field?: string) {
    super('secret payload is refused')
    this.rule = rule
    this.field = field
  }
}

const TEXT_FIELDS = ['username', 'domain', 'password'] as const
type TextField = (typeof TEXT_FIELDS)[number]
const FIELDS = ['version', 'protocol', ...TEXT_FIELDS] as const
type Field = (typeof FIELDS)[number]
const REQUIRED: readonly Field[] = ['version', 'protocol', 'username', 'password']

/** Spans of the values in the payload's bytes. */
type Values = Map<Field, { readonly start: number; readonly end: number }>

/**
 * Checks a version 1 RDP payload and returns the bytes that are stored and, later, handed to the worker as they are:
 * `{"version":1,"protocol":"rdp","username":…,"domain":…,"password":…,"rotation_version":n}`.
 *
 * The payload is read byte by byte and its values are copied as they were written, so no part of it ever becomes a
 * JavaScript string, which could not be zeroed. Stricter than JSON: field names without escapes, no duplicates, nothing
 * unknown. An empty domain is the same as none and is left out. The caller owns, and zeroes, both buffers.
 * Throws PayloadError.
 */
export function canonicalPayload(payload: Uint8Array, rotationVersion: number): Buffer {
  if (payload.length > MAX_PAYLOAD_BYTES) throw new PayloadError('too_large')
  // A view, not a copy: there is one plaintext to zero.
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  if (!isUtf8(bytes)) throw new PayloadError('not_utf8')
  const values = readObject(bytes)
  const missing = REQUIRED.find(field => !values.has(field))
  if (missing !== undefined) throw new PayloadError('missing_field', missing)
  return writeCanonical(bytes, values, rotationVersion)
}

function readObject(bytes: Buffer): Values {
  const values: Values = new Map()
  const seen = new Set<Field>()
  let at = expect(bytes, skipSpace(bytes, 0), 0x7b)
  at = skipSpace(bytes, at)
  if (bytes[at] === 0x7d) return endOf(bytes, at + 1, values)
  for (;;) {
    const name = readLiteral(bytes, at)
    const field = fieldNamed(bytes, name)
    if (seen.has(field)) throw new PayloadError('duplicate_field', field)
    seen.add(field)
    at = skipSpace(bytes, expect(bytes, skipSpace(bytes, name.end), 0x3a))
    const end = readValue(bytes, at, field)
    const isEmptyDomain = field === 'domain' && end - at === 2
    if (!isEmptyDomain) values.set(field, { start: at, end })
    at = skipSpace(bytes, end)
    if (bytes[at] === 0x7d) return endOf(bytes, at + 1, values)
    at = skipSpace(bytes, expect(bytes, at, 0x2c))
  }
}

function readValue(bytes: Buffer, at: number, field: Field): number {
  if (field === 'version') {
    // Exactly the digit: what follows it has to be the end of the value, so 1.0, 10 and 1e0 are refused after it.
    if (bytes[at] !== 0x31) throw new PayloadError('wrong_value', field)
    return at + 1
  }
  const text = readLiteral(bytes, at, field)
  if (field === 'protocol') {
    if (!isAscii(bytes, text, 'rdp')) throw new PayloadError('wrong_value', field)
    return text.end
  }
  checkText(text, field)
  return text.end
}

function checkText(text: LiteralText, field: TextField): void {
  if (text.units > MAX_TEXT_UNITS) throw new PayloadError('too_long', field)
  if (text.units === 0 && field !== 'domain') throw new PayloadError('empty', field)
  // RDP ends these fields with a NUL; a password may hold any other character.
  const isForbidden = field === 'password' ? text.hasNul : text.hasControl
  if (isForbidden) throw new PayloadError('forbidden_character', field)
}

function readLiteral(bytes: Buffer, at: number, field?: Field): LiteralText {
  const text = scanText(bytes, at)
  if (typeof text === 'string') throw new PayloadError(text, field)
  return text
}

function fieldNamed(bytes: Buffer, name: LiteralText): Field {
  const field = FIELDS.find(candidate => isAscii(bytes, name, candidate))
  // The unknown name is not echoed: it may be a password in the wrong place.
  if (field === undefined) throw new PayloadError('unknown_field')
  return field
}

function isAscii(bytes: Buffer, text: LiteralText, expected: string): boolean {
  if (text.hasEscape || text.end - text.start - 2 !== expected.length) return false
  return bytes.compare(Buffer.from(expected, 'latin1'), 0, expected.length, text.start + 1, text.end - 1) === 0
}

function skipSpace(bytes: Buffer, at: number): number {
  let next = at
  while (bytes[next] === 0x20 || bytes[next] === 0x09 || bytes[next] === 0x0a || bytes[next] === 0x0d) next += 1
  return next
}

function expect(bytes: Buffer, at: number, byte: number): number {
  if (bytes[at] !== byte) throw new PayloadError('malformed')
  return at + 1
}

function endOf(bytes: Buffer, at: number, values: Values): Values {
  if (skipSpace(bytes, at) !== bytes.length) throw new PayloadError('malformed')
  return values
}

function writeCanonical(bytes: Buffer, values: Values, rotationVersion: number): Buffer {
  const tail = `,"rotation_version":${rotationVersion}}`
  const fields = FIELDS.flatMap(field => {
    const span = values.get(field)
    return span === undefined ? [] : [{ name: `"${field}":`, span }]
  })
  // { or , before each field · name · value · tail
  const size = fields.reduce((sum, { name, span }) => sum + 1 + name.length + (span.end - span.start), tail.length)
  // Not from the shared pool: the caller zeroes the whole allocation.
  const canonical = Buffer.alloc(size)
  let at = 0
  for (const { name, span } of fields) {
    at += canonical.write(`${at === 0 ? '{' : ','}${name}`, at, 'latin1')
    at += bytes.copy(canonical, at, span.start, span.end)
  }
  canonical.write(tail, at, 'latin1')
  return canonical
}
