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
