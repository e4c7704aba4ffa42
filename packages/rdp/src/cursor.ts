import { WireError } from './errors.ts'

/** Reads a structure front to back; every read checks its bound first. Throws WireError ERR_WIRE_TRUNCATED. */
export class Reader {
  readonly bytes: Uint8Array
  readonly structure: string
  offset: number
  readonly #view: DataView

  constructor(bytes: Uint8Array, structure: string, offset = 0) {
    this.bytes = bytes
    this.structure = structure
    this.offset = offset
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.bytes.length - this.offset
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#take(1, field))
  }

  u16le(field: string): number {
    return this.#view.getUint16(this.#take(2, field), true)
  }

  u16be(field: string): number {
    return this.#view.getUint16(this.#take(2, field), false)
  }

  u32le(field: string): number {
    return this.#view.getUint32(this.#take(4, field), true)
  }

  u32be(field: string): number {
    return this.#view.getUint32(this.#take(4, field), false)
  }

  u64le(field: string): bigint {
    return this.#view.getBigUint64(this.#take(8, field), true)
  }

  /** A view of the next `size` bytes, not a copy. */
  take(size: number, field: string): Uint8Array {
    const start = this.#take(size, field)
    return this.bytes.subarray(start, start + size)
  }

  skip(size: number, field: string): void {
    this.#take(size, field)
  }

  /** Refuses bytes behind the end of the structure. */
  end(): void {
    if (this.remaining !== 0) {
      throw new WireError('ERR_WIRE_TRAILING_BYTES', 'bytes after the end of the structure', {
        structure: this.structure,
        received: this.remaining,
        expected: 0,
      })
    }
  }

  #take(size: number, field: string): number {
    if (size < 0 || this.remaining < size) {
      throw new WireError('ERR_WIRE_TRUNCATED', 'input ends inside a field', {
        structure: this.structure,
        field,
        received: this.remaining,
        expected: size,
      })
    }
    const start = this.offset
    this.offset += size
    return start
  }
}

/**
 * Builds a structure front to back.
 *
 * INVARIANT: with an exact `capacity` the bytes are written once and never moved, so that a caller can zero them.
 */
export class Writer {
  #bytes: Uint8Array
  #view: DataView
  #length = 0

  constructor(capacity = 128) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    const start = this.#grow(1)
    this.#view.setUint8(start, value)
    return this
  }

  u16le(value: number): this {
    const start = this.#grow(2)
    this.#view.setUint16(start, value, true)
    return this
  }

  u16be(value: number): this {
    const start = this.#grow(2)
    this.#view.setUint16(start, value, false)
    return this
  }

  u32le(value: number): this {
    const start = this.#grow(4)
    this.#view.setUint32(start, value, true)
    return this
  }

  u64le(value: bigint): this {
    const start = this.#grow(8)
    this.#view.setBigUint64(start, value, true)
    return this
  }

  bytes(bytes: Uint8Array): this {
    const start = this.#grow(bytes.length)
    this.#bytes.set(bytes, start)
    return this
  }

  zeros(size: number): this {
    this.#grow(size)
    return this
  }

  /** The bytes so far; a view that later writes may leave behind. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #grow(size: number): number {
    const start = this.#length
    const needed = start + size
    if (needed > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      bytes.set(this.#bytes)
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer)
    }
    this.#length = needed
    return start
  }
}
