import { Reader } from './cursor.ts'
import { WireError, type WireErrorCode } from './errors.ts'

/** Identifier octets of the universal types that RDP's ASN.1 messages use. Spec: X.690 §8.1.2. */
export const DER_TAG = {
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  SEQUENCE: 0x30,
} as const

/** 64 KiB bounds what one peer can make us hold for one message. */
export const MAX_DER_BYTES = 65_536
/** No structure that we read nests deeper than 9; a bomb of nested SEQUENCEs ends here. */
export const MAX_DER_DEPTH = 16
/** An INTEGER of more bytes does not fit a JavaScript number without loss. */
const MAX_INTEGER_BYTES = 6
const MAX_OID_BYTES = 64
/** Seven groups of seven bits stay below 2^53. */
const MAX_OID_ARC_BYTES = 7

export interface DerLimits {
  /** Bytes of the whole message, identifier and length octets included. */
  readonly maxBytes?: number
  readonly maxDepth?: number
}

export interface DerBitString {
  /** Bits of the last byte that do not count, 0 to 7; they are zero. */
  readonly unusedBits: number
  readonly bytes: Uint8Array
}

interface Header {
  readonly tag: number
  readonly headerBytes: number
  readonly contentBytes: number
}

/** Identifier octet of the constructed context-specific tag [number]. */
export function contextTag(number: number): number {
  if (!Number.isInteger(number) || number < 0 || number > 30) throw new TypeError('context tag number is not 0 to 30')
  return 0xa0 | number
}

/**
 * Size in bytes of the DER element at the start of `buffered`, or undefined while its length octets are incomplete.
 *
 * Spec: X.690 §8.1.3, §10.1 (definite, shortest form).
 * Throws WireError: INVALID_FIELD (tag, length form), TOO_LARGE (element above `maxBytes`).
 */
export function derFrameSize(buffered: Uint8Array, structure: string, maxBytes = MAX_DER_BYTES): number | undefined {
  const header = decodeHeader(buffered, structure, 'length', maxBytes)
  return header === undefined ? undefined : header.headerBytes + header.contentBytes
}

function refuse(code: WireErrorCode, message: string, facts: ConstructorParameters<typeof WireError>[2]): WireError {
  return new WireError(code, message, facts)
}

/** Undefined means that `bytes` ends inside the header. */
function decodeHeader(bytes: Uint8Array, structure: string, field: string, maxBytes: number): Header | undefined {
  const tag = bytes[0]
  if (tag === undefined) return undefined
  // Tag numbers of 31 and more, and the end-of-contents octet, occur in none of the structures.
  if ((tag & 0x1f) === 0x1f || tag === 0) {
    throw refuse('ERR_WIRE_INVALID_FIELD', 'identifier octet is not supported', { structure, field, received: tag })
  }
  const first = bytes[1]
  if (first === undefined) return undefined
  let contentBytes = first
  let headerBytes = 2
  if (first >= 0x80) {
    const size = first & 0x7f
    // 0x80 is the indefinite form; three length bytes already say 16 MiB.
    if (size === 0 || size > 3) {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'length form is not supported', { structure, field, received: first })
    }
    if (bytes.length < 2 + size) return undefined
    contentBytes = 0
    for (let index = 2; index < 2 + size; index++) contentBytes = contentBytes * 256 + (bytes[index] ?? 0)
    headerBytes = 2 + size
    if (contentBytes < 0x80 || contentBytes < 2 ** (8 * (size - 1))) {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'length is not in its shortest form', {
        structure,
        field,
        received: contentBytes,
      })
    }
  }
  if (headerBytes + contentBytes > maxBytes) {
    throw refuse('ERR_WIRE_TOO_LARGE', 'element is larger than its limit', {
      structure,
      field,
      received: headerBytes + contentBytes,
      expected: maxBytes,
    })
  }
  return { tag, headerBytes, contentBytes }
}

/**
 * Reads the elements of one DER content front to back.
 *
 * Spec: X.690 §10 (DER). Strict: definite lengths in their shortest form, shortest INTEGER, zero unused bits.
 * INVARIANT: every length is checked against the bytes that are there, every nesting against `maxDepth`.
 * Throws WireError: TRUNCATED, INVALID_FIELD, TOO_LARGE, UNEXPECTED_MESSAGE (another tag), TRAILING_BYTES.
 */
export class DerReader {
  readonly structure: string
  readonly #cursor: Reader
  readonly #maxBytes: number
  readonly #depthLeft: number

  constructor(bytes: Uint8Array, structure: string, limits: DerLimits = {}) {
    this.structure = structure
    this.#maxBytes = limits.maxBytes ?? MAX_DER_BYTES
    this.#depthLeft = limits.maxDepth ?? MAX_DER_DEPTH
    if (bytes.length > this.#maxBytes) {
      throw refuse('ERR_WIRE_TOO_LARGE', 'input is larger than its limit', {
        structure,
        received: bytes.length,
        expected: this.#maxBytes,
      })
    }
    this.#cursor = new Reader(bytes, structure)
  }

  get remaining(): number {
    return this.#cursor.remaining
  }

  /** The identifier octet of the next element, or undefined at the end. */
  peek(): number | undefined {
    return this.#cursor.bytes[this.#cursor.offset]
  }

  /** The content of the next element, which must carry `tag`. */
  content(tag: number, field: string): Uint8Array {
    const header = this.#header(field)
    if (header.tag !== tag) {
      throw refuse('ERR_WIRE_UNEXPECTED_MESSAGE', 'element has another tag', {
        structure: this.structure,
        field,
        received: header.tag,
        expected: tag,
      })
    }
    this.#cursor.skip(header.headerBytes, field)
    return this.#cursor.take(header.contentBytes, field)
  }

  /** The next element whole, identifier and length octets included, whatever its tag. */
  element(field: string): Uint8Array {
    const header = this.#header(field)
    return this.#cursor.take(header.headerBytes + header.contentBytes, field)
  }

  /** Goes into a constructed element. */
  constructed(tag: number, field: string): DerReader {
    if (this.#depthLeft === 0) {
      throw refuse('ERR_WIRE_TOO_LARGE', 'elements are nested too deep', { structure: this.structure, field })
    }
    return new DerReader(this.content(tag, field), this.structure, {
      maxBytes: this.#maxBytes,
      maxDepth: this.#depthLeft - 1,
    })
  }

  sequence(field: string): DerReader {
    return this.constructed(DER_TAG.SEQUENCE, field)
  }

  explicit(number: number, field: string): DerReader {
    return this.constructed(contextTag(number), field)
  }

  /** Undefined when the next element is not [number]; an OPTIONAL field. */
  optionalExplicit(number: number, field: string): DerReader | undefined {
    return this.peek() === contextTag(number) ? this.explicit(number, field) : undefined
  }

  /** A two's complement INTEGER between `min` and `max`, both included. */
  integer(field: string, min: number, max: number): number {
    return this.#number(DER_TAG.INTEGER, field, min, max)
  }

  enumerated(field: string, min: number, max: number): number {
    return this.#number(DER_TAG.ENUMERATED, field, min, max)
  }

  octetString(field: string): Uint8Array {
    return this.content(DER_TAG.OCTET_STRING, field)
  }

  utf8String(field: string): string {
    const content = this.content(DER_TAG.UTF8_STRING, field)
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content)
    } catch {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'text is not UTF-8', { structure: this.structure, field })
    }
  }

  bitString(field: string): DerBitString {
    const content = this.content(DER_TAG.BIT_STRING, field)
    const unusedBits = content[0]
    const bytes = content.subarray(1)
    const last = bytes.at(-1)
    const valid =
      unusedBits !== undefined &&
      unusedBits <= 7 &&
      (last === undefined ? unusedBits === 0 : (last & ((1 << unusedBits) - 1)) === 0)
    if (!valid) {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'unused bits are invalid', { structure: this.structure, field })
    }
    return { unusedBits, bytes }
  }

  /** An OBJECT IDENTIFIER in dotted form. */
  oid(field: string): string {
    const content = this.content(DER_TAG.OID, field)
    const arcs: number[] = []
    let arc = 0
    let arcBytes = 0
    for (const byte of content) {
      arc = arc * 128 + (byte & 0x7f)
      arcBytes++
      if (arcBytes > MAX_OID_ARC_BYTES || (arcBytes === 1 && byte === 0x80)) break
      if (byte < 0x80) {
        arcs.push(arc)
        arc = 0
        arcBytes = 0
      }
    }
    const first = arcs.shift()
    if (first === undefined || arcBytes !== 0 || content.length > MAX_OID_BYTES) {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'object identifier is invalid', { structure: this.structure, field })
    }
    const root = Math.min(Math.floor(first / 40), 2)
    return [root, first - root * 40, ...arcs].join('.')
  }

  /** Refuses elements behind the last known one. */
  end(): void {
    this.#cursor.end()
  }

  #header(field: string): Header {
    const rest = this.#cursor.bytes.subarray(this.#cursor.offset)
    const header = decodeHeader(rest, this.structure, field, this.#maxBytes)
    const size = header === undefined ? rest.length + 1 : header.headerBytes + header.contentBytes
    if (header === undefined || size > rest.length) {
      throw refuse('ERR_WIRE_TRUNCATED', 'input ends inside an element', {
        structure: this.structure,
        field,
        received: rest.length,
        expected: size,
      })
    }
    return header
  }

  #number(tag: number, field: string, min: number, max: number): number {
    const content = this.content(tag, field)
    const [first, second] = content
    const shortest =
      first !== undefined &&
      (second === undefined || !((first === 0x00 && second < 0x80) || (first === 0xff && second >= 0x80)))
    if (!shortest) {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'number is not in its shortest form', { structure: this.structure, field })
    }
    let value = first >= 0x80 ? -1 : 0
    if (content.length <= MAX_INTEGER_BYTES) for (const byte of content) value = value * 256 + byte
    if (content.length > MAX_INTEGER_BYTES || value < min || value > max) {
      throw refuse('ERR_WIRE_INVALID_FIELD', 'number is out of its range', { structure: this.structure, field })
    }
    return value
  }
}

/** One element with `tag` around the joined `parts`; `parts` are copied, so a caller may zero them afterwards. */
export function derElement(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const contentBytes = parts.reduce((sum, part) => sum + part.length, 0)
  const length: number[] = []
  if (contentBytes < 0x80) length.push(contentBytes)
  else {
    for (let rest = contentBytes; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest & 0xff)
    length.unshift(0x80 | length.length)
  }
  const element = new Uint8Array(1 + length.length + contentBytes)
  element.set([tag, ...length])
  let offset = 1 + length.length
  for (const part of parts) {
    element.set(part, offset)
    offset += part.length
  }
  return element
}

export function derSequence(...parts: readonly Uint8Array[]): Uint8Array {
  return derElement(DER_TAG.SEQUENCE, ...parts)
}

/** The EXPLICIT context tag [number] around one element. */
export function derExplicit(number: number, element: Uint8Array): Uint8Array {
  return derElement(contextTag(number), element)
}

export function derOctetString(bytes: Uint8Array): Uint8Array {
  return derElement(DER_TAG.OCTET_STRING, bytes)
}

export function derInteger(value: number): Uint8Array {
  return derElement(DER_TAG.INTEGER, integerContent(value))
}

export function derEnumerated(value: number): Uint8Array {
  return derElement(DER_TAG.ENUMERATED, integerContent(value))
}

/** Text with a lone surrogate has no UTF-8 form and is a TypeError. */
export function derUtf8String(text: string): Uint8Array {
  if (!text.isWellFormed()) throw new TypeError('text is not well-formed Unicode')
  return derElement(DER_TAG.UTF8_STRING, new TextEncoder().encode(text))
}

export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return derElement(DER_TAG.BIT_STRING, Uint8Array.of(unusedBits), bytes)
}

/** `dotted` is a constant of this code, such as '1.3.6.1.5.5.2'; anything else is a TypeError. */
export function derOid(dotted: string): Uint8Array {
  const [root = -1, second = -1, ...rest] = dotted.split('.').map(Number)
  const arcs = [root * 40 + second, ...rest]
  const valid = root >= 0 && root <= 2 && second >= 0 && (root === 2 || second < 40)
  if (!valid || !arcs.every(arc => Number.isSafeInteger(arc) && arc >= 0)) {
    throw new TypeError('object identifier is not in dotted form')
  }
  const content = arcs.flatMap(arc => {
    const groups = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift((left % 128) | 0x80)
    return groups
  })
  return derElement(DER_TAG.OID, Uint8Array.from(content))
}

function integerContent(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new TypeError('number is not a safe integer')
  const content: number[] = []
  let rest = value
  do {
    const byte = ((rest % 256) + 256) % 256
    content.unshift(byte)
    rest = (rest - byte) / 256
  } while (!((rest === 0 && (content[0] ?? 0) < 0x80) || (rest === -1 && (content[0] ?? 0) >= 0x80)))
  return Uint8Array.from(content)
}
