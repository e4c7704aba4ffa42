import { statfs } from 'node:fs/promises'
import { UploadError } from './errors.ts'

export interface RoomOptions {
  /** A directory on the disk in question. */
  readonly dir: string
  /** Most bytes of all uploads of this worker together, as announced. */
  readonly maxBytes: number
  /** Bytes of the disk that uploads leave free. */
  readonly reserveBytes: number
}

/** The part of the room that one upload has. */
export interface Reservation {
  /** Bytes that are on the disk now and were still to come. */
  wrote(bytes: number): void
  /** Gives everything back, once. */
  release(): void
}

/** The room that a worker has for uploads. A file is refused when it is announced, and not after gigabytes. */
export class Room {
  readonly #options: RoomOptions
  #announced = 0
  #toCome = 0
  #asking: Promise<unknown> = Promise.resolve()

  constructor(options: RoomOptions) {
    this.#options = options
  }

  /** Bytes of uploads that are on the disk now. */
  get storedBytes(): number {
    return this.#announced - this.#toCome
  }

  /** Takes room for a file of `size` bytes. Rejects: ERR_UPLOAD_DISK_FULL, and with what the file system says. */
  reserve(size: number): Promise<Reservation> {
    // One at a time: two that look at the same free bytes would both take them.
    const turn = this.#asking.then(() => this.#reserve(size))
    this.#asking = turn.catch(() => undefined)
    return turn
  }

  async #reserve(size: number): Promise<Reservation> {
    const { dir, maxBytes, reserveBytes } = this.#options
    if (this.#announced + size > maxBytes) throw new UploadError('ERR_UPLOAD_DISK_FULL')
    // Read before the disk is asked: what is written meanwhile then counts twice rather than not at all.
    const toCome = this.#toCome
    const { bavail, bsize } = await statfs(dir)
    if (bavail * bsize - reserveBytes - toCome < size) throw new UploadError('ERR_UPLOAD_DISK_FULL')
    this.#announced += size
    this.#toCome += size
    let left = size
    let released = false
    return {
      wrote: bytes => {
        if (released) return
        left -= bytes
        this.#toCome -= bytes
      },
      release: () => {
        if (released) return
        released = true
        this.#announced -= size
        this.#toCome -= left
      },
    }
  }
}
