import { RapError } from '../errors.ts'

/** A file to send: a `File` or `Blob` of the browser, `openAsBlob` of Node, or anything that reads like one. */
export interface UploadSource {
  /** The name to send where the caller names none. */
  readonly name?: string
  /** Bytes. */
  readonly size: number
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> }
}

/** Bytes that are read at once: a slice of a file costs about the same whatever its size. */
const BLOCK_BYTES = 1024 * 1024

/** Reads a file in blocks, each of them once while it is read forwards. Holds one block. */
export class BlockReader {
  readonly #source: UploadSource
  readonly #size: number
  #at = 0
  #block = new Uint8Array()

  constructor(source: UploadSource) {
    this.#source = source
    this.#size = source.size
  }

  /** 1 to `maxBytes` bytes at `offset`, which is before the end. Throws RapError ERR_FILE_UNREADABLE. */
  async read(offset: number, maxBytes: number): Promise<Uint8Array> {
    const isHeld = this.#at <= offset && offset < this.#at + this.#block.length
    if (!isHeld) {
      this.#block = await this.#blockAt(offset)
      this.#at = offset
    }
    return this.#block.subarray(offset - this.#at, offset - this.#at + maxBytes)
  }

  async #blockAt(offset: number): Promise<Uint8Array<ArrayBuffer>> {
    const end = Math.min(offset + BLOCK_BYTES, this.#size)
    let bytes: ArrayBuffer
    try {
      bytes = await this.#source.slice(offset, end).arrayBuffer()
    } catch (cause) {
      throw unreadable({ cause })
    }
    if (bytes.byteLength !== end - offset) throw unreadable()
    return new Uint8Array(bytes)
  }
}

function unreadable(options?: ErrorOptions): RapError {
  return new RapError(
    'ERR_FILE_UNREADABLE',
    'file cannot be read as it was when the upload began',
    { detail: 'The file could not be read. It may have been changed, moved or deleted.', remedy: 'Choose it again.' },
    options,
  )
}
