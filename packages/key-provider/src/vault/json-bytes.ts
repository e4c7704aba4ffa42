const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const SPACES = new Set([0x20, 0x09, 0x0a, 0x0d])
const CLOSING = new Map([
  [0x7b, 0x7d], // { }
  [0x5b, 0x5d], // [ ]
])
/** Deeper than any answer of the Transit engine. */
const MAX_DEPTH = 16

/** A value of a JSON text (RFC 8259) as the bytes that it is written with. */
export type JsonSlice = Buffer

/** The text is no JSON, or has a member twice: what it says is not one thing. */
class MalformedJson extends Error {}

/**
 * The member at a path of names, as a view into `text` and never as a string, so that its owner can zero it.
 *
 * Undefined where a name is missing, a value on the way is no object, or the text up to there is no JSON.
 */
export function memberOf(text: Buffer, ...path: readonly string[]): JsonSlice | undefined {
  try {
    let value = wholeValue(text)
    for (const name of path) {
      const member = memberNamed(value, name)
      if (member === undefined) return undefined
      value = member
    }
    return value
  } catch (error) {
    if (error instanceof MalformedJson) return undefined
    throw error
  }
}

/** The bytes between the quotation marks of a string without escapes: what tokens and base64 are written as. */
export function plainString(value: JsonSlice | undefined): Buffer | undefined {
  if (value?.[0] !== QUOTE || value.includes(BACKSLASH)) return undefined
  return value.subarray(1, -1)
}

/** A value that is no secret, as JavaScript has it. */
export function decoded(value: JsonSlice | undefined): unknown {
  if (value === undefined) return undefined
  try {
    return JSON.parse(value.toString('utf8'))
  } catch {
    // The syntax error quotes the text.
    return undefined
  }
}

/**
 * One flat JSON object. A Buffer becomes a string of exactly these bytes; it holds characters only that need no escape.
 * The caller zeroes the result.
 */
export function jsonObject(members: Readonly<Record<string, string | number | boolean | Buffer>>): Buffer {
  const parts = Object.entries(members).flatMap(([name, value], index) => [
    Buffer.from(`${index === 0 ? '{' : ','}${JSON.stringify(name)}:`),
    ...(Buffer.isBuffer(value) ? [Buffer.of(QUOTE), value, Buffer.of(QUOTE)] : [Buffer.from(JSON.stringify(value))]),
  ])
  if (parts.length === 0) return Buffer.from('{}')
  return Buffer.concat([...parts, Buffer.from('}')])
}

function wholeValue(text: Buffer): JsonSlice {
  const start = afterSpace(text, 0)
  const end = endOfValue(text, start, 0)
  if (afterSpace(text, end) !== text.length) throw new MalformedJson()
  return text.subarray(start, end)
}

function memberNamed(object: JsonSlice, name: string): JsonSlice | undefined {
  if (object[0] !== 0x7b) return undefined
  const wanted = Buffer.from(JSON.stringify(name))
  let found: JsonSlice | undefined
  let at = afterSpace(object, 1)
  while (object[at] === QUOTE) {
    const nameEnd = endOfString(object, at)
    const isWanted = object.subarray(at, nameEnd).equals(wanted)
    const colon = afterSpace(object, nameEnd)
    if (object[colon] !== COLON) throw new MalformedJson()
    const start = afterSpace(object, colon + 1)
    const end = endOfValue(object, start, 1)
    if (isWanted && found !== undefined) throw new MalformedJson()
    if (isWanted) found = object.subarray(start, end)
    at = afterSpace(object, end)
    if (object[at] === COMMA) at = afterSpace(object, at + 1)
  }
  if (at !== object.length - 1) throw new MalformedJson()
  return found
}

/** The offset behind the value that begins at `at`. Brackets are counted; the words between them are not judged. */
function endOfValue(text: Buffer, at: number, depth: number): number {
  if (depth > MAX_DEPTH) throw new MalformedJson()
  const first = text[at]
  if (first === undefined) throw new MalformedJson()
  if (first === QUOTE) return endOfString(text, at)
  const closing = CLOSING.get(first)
  if (closing === undefined) return endOfWord(text, at)
  let next = afterSpace(text, at + 1)
  while (text[next] !== closing) {
    next = afterSpace(text, endOfValue(text, next, depth + 1))
    if (text[next] === COMMA || text[next] === COLON) next = afterSpace(text, next + 1)
  }
  return next + 1
}

function endOfString(text: Buffer, at: number): number {
  for (let next = at + 1; next < text.length; next++) {
    const byte = text[next] as number
    if (byte === QUOTE) return next + 1
    if (byte < 0x20) break
    if (byte === BACKSLASH) next += 1
  }
  throw new MalformedJson()
}

/** Numbers, `true`, `false` and `null`. */
function endOfWord(text: Buffer, at: number): number {
  let next = at
  while (next < text.length && /[A-Za-z0-9.+-]/.test(String.fromCharCode(text[next] as number))) next += 1
  if (next === at) throw new MalformedJson()
  return next
}

function afterSpace(text: Buffer, at: number): number {
  let next = at
  while (SPACES.has(text[next] as number)) next += 1
  return next
}
