import { createHash, randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nameKey, type Transfer } from '@rap/data-plane-protocol'
import { UploadError, uploadErrorOf } from './errors.ts'
import { BLOCK_BYTES, FileCipher } from './file-cipher.ts'
import type { OpenFiles } from './open-files.ts'
import type { Reservation } from './room.ts'

/** What the file system says where somebody else has removed the file, or put a link, a directory or a pipe in its place. */
const REPLACED = new Set(['ENOENT', 'ELOOP', 'ENOTDIR', 'EISDIR', 'ESPIPE'])

export interface UploadFacts {
  readonly id: string
  /** As the client said it, to tell whether a second begin means the same file. */
  readonly givenName: string
  /** Its name in RAP_Transfers. */
  readonly name: string
  readonly size: number
}

/**
 * One file on its way to the disk, and there.
 *
 * Bytes are hashed and encrypted as they come, so that no plaintext waits, and written one piece after the other.
 * INVARIANT: after the first failure, and after `discard`, its key is gone and every promise rejects with that reason.
 */
export class Upload {
  readonly facts: UploadFacts
  readonly nameKey: string
  /** Of the last begin; an older connection that still writes is not the owner any more. */
  owner: object | undefined
  readonly #path: string
  readonly #files: OpenFiles
  readonly #reservation: Reservation
  readonly #cipher = new FileCipher()
  readonly #hash = createHash('sha256')
  #accepted = 0
  #written = 0
  #writes: Promise<void> = Promise.resolve()
  #reason: UploadError | undefined
  #discarding: Promise<void> | undefined
  #sha256: string | undefined
  #readyAt: number | undefined

  private constructor(facts: UploadFacts, path: string, files: OpenFiles, reservation: Reservation) {
    this.facts = facts
    this.nameKey = nameKey(facts.name)
    this.#path = path
    this.#files = files
    this.#reservation = reservation
  }

  /** Makes the file, under a name that says nothing. Rejects with what the file system says; the reservation is then the caller's again. */
  static async create(
    facts: UploadFacts,
    { dir, files, reservation }: { dir: string; files: OpenFiles; reservation: Reservation },
  ): Promise<Upload> {
    const path = join(dir, randomBytes(16).toString('hex'))
    await files.create(path)
    return new Upload(facts, path, files, reservation)
  }

  /** Bytes that were taken, written or about to be. */
  get accepted(): number {
    return this.#accepted
  }

  /** Why there is no file, where that is so. */
  get reason(): UploadError | undefined {
    return this.#reason
  }

  /** When the file was whole, in milliseconds of the Unix epoch; undefined before. */
  get readyAt(): number | undefined {
    return this.#readyAt
  }

  transfer(): Transfer {
    const { id, name, size } = this.facts
    const state = this.#readyAt === undefined ? 'receiving' : 'ready'
    return { upload_id: id, name, size, offset: this.#written, state }
  }

  /** Takes the next bytes; `data` may be used again when this returns. Resolves with the end of what is written by then. */
  append(data: Uint8Array): Promise<number> {
    if (this.#reason !== undefined) return Promise.reject(this.#reason)
    const at = this.#accepted
    this.#hash.update(data)
    const ciphertext = this.#cipher.append(data)
    this.#accepted += data.length
    const write = this.#writes.then(() => this.#write(ciphertext, at))
    this.#writes = write.catch(() => undefined)
    return write.then(() => at + ciphertext.length)
  }

  /** Waits for what was taken to be written. Rejects with the reason where there is no file any more. */
  async settle(): Promise<number> {
    await this.#writes
    if (this.#reason !== undefined) throw this.#reason
    return this.#written
  }

  /**
   * Compares the file with the client's SHA-256, and makes it ready; false where it was ready already.
   *
   * Rejects: ERR_UPLOAD_OFFSET, ERR_UPLOAD_HASH_MISMATCH, ERR_UPLOAD_CONFLICT, or the reason.
   */
  async finish(sha256: string, now: number): Promise<boolean> {
    await this.settle()
    if (this.#reason !== undefined) throw this.#reason
    if (this.#readyAt !== undefined) {
      if (this.#sha256 !== sha256) throw new UploadError('ERR_UPLOAD_CONFLICT')
      return false
    }
    if (this.#written !== this.facts.size) throw new UploadError('ERR_UPLOAD_OFFSET')
    this.#cipher.seal()
    this.#sha256 = this.#hash.digest('hex')
    if (this.#sha256 !== sha256) throw new UploadError('ERR_UPLOAD_HASH_MISMATCH')
    this.#readyAt = now
    return true
  }

  /** Takes the room again that somebody else took while nothing came. Rejects: ERR_UPLOAD_DISK_FULL, or with what the file system says. */
  renewRoom(): Promise<void> {
    return this.#reservation.renew()
  }

  /**
   * Plaintext of a range of a ready file; nothing of it that is not what was written there.
   *
   * Rejects: ERR_UPLOAD_DAMAGED where somebody else has changed the file, or with what the file system says.
   */
  async read(offset: number, length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0)
    const firstBlock = Math.floor(offset / BLOCK_BYTES)
    const start = firstBlock * BLOCK_BYTES
    const end = Math.min(Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES, this.facts.size)
    const ciphertext = await this.#ciphertext(start, end - start)
    if (this.#reason !== undefined) throw this.#reason
    return this.#cipher.open(firstBlock, ciphertext).subarray(offset - start, offset - start + length)
  }

  /** Takes the file away: the key at once, the bytes on the disk when a write under way has ended. Never rejects. */
  discard(reason: UploadError): Promise<void> {
    this.#reason ??= reason
    this.#discarding ??= this.#remove()
    return this.#discarding
  }

  async #ciphertext(offset: number, length: number): Promise<Buffer> {
    try {
      return await this.#files.use(this.#path, async handle => {
        const buffer = Buffer.allocUnsafe(length)
        for (let filled = 0; filled < length; ) {
          const { bytesRead } = await handle.read(buffer, filled, length - filled, offset + filled)
          if (bytesRead === 0) throw new UploadError('ERR_UPLOAD_DAMAGED')
          filled += bytesRead
        }
        return buffer
      })
    } catch (cause) {
      if (this.#reason !== undefined) throw this.#reason
      const isReplaced = REPLACED.has((cause as NodeJS.ErrnoException).code ?? '')
      throw isReplaced ? new UploadError('ERR_UPLOAD_DAMAGED', { cause }) : cause
    }
  }

  async #write(ciphertext: Buffer, at: number): Promise<void> {
    if (this.#reason !== undefined) throw this.#reason
    try {
      await this.#reservation.renew()
      await this.#files.use(this.#path, async handle => {
        for (let done = 0; done < ciphertext.length; ) {
          const { bytesWritten } = await handle.write(ciphertext, done, ciphertext.length - done, at + done)
          done += bytesWritten
        }
      })
    } catch (error) {
      this.#reason ??= uploadErrorOf(error)
      throw this.#reason
    }
    if (this.#reason !== undefined) throw this.#reason
    this.#written += ciphertext.length
    this.#reservation.wrote(ciphertext.length)
  }

  async #remove(): Promise<void> {
    this.#cipher.destroy()
    await this.#writes
    await this.#files.forget(this.#path)
    // Where it cannot be removed it is noise, and goes with its directory.
    await rm(this.#path, { force: true }).catch(() => undefined)
    this.#reservation.release()
  }
}
