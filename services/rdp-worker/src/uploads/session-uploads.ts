import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  distinctName,
  refusalOfFile,
  refusalOfOneMore,
  safeFileName,
  type Transfer,
  type UploadRefusal,
} from '@rap/data-plane-protocol'
import type { DriveFile, DriveFiles, ReadResult } from '@rap/rdp'
import type { Logger } from '@rap/service-kit'
import type { SessionLimits } from '@rap/session-policy'
import { UploadError, uploadErrorOf } from './errors.ts'
import type { OpenFiles } from './open-files.ts'
import type { Room } from './room.ts'
import { Upload } from './upload.ts'

/** What uploads tell to be counted. */
export interface UploadCounts {
  uploadBytes(bytes: number): void
  uploadEnded(outcome: 'ready' | UploadRefusal): void
}

export interface SessionUploadsOptions {
  /** The directory of this process; the session makes its own in it. */
  readonly dir: string
  readonly files: OpenFiles
  readonly room: Room
  readonly logger: Logger
  readonly counts: UploadCounts | undefined
}

export interface UploadStart {
  readonly uploadId: string
  /** As the client says it. */
  readonly name: string
  readonly size: number
}

/**
 * The uploads of one session: what is under way, and what stands in RAP_Transfers.
 *
 * A refusal is an UploadError. ERR_UPLOAD_OFFSET, ERR_UPLOAD_CONFLICT and ERR_UPLOAD_UNKNOWN leave everything as it is; after every other one the upload
 * is gone with its bytes, its name and its part of the quota.
 */
export class SessionUploads implements DriveFiles {
  readonly #options: SessionUploadsOptions
  readonly #dir: string
  readonly #uploads = new Map<string, Upload>()
  readonly #listeners = new Set<() => void>()
  readonly #damageListeners = new Set<(uploadId: string) => void>()
  #limits: SessionLimits | undefined
  #listed: readonly DriveFile[] | undefined
  #turn: Promise<unknown> = Promise.resolve()
  #hasDir = false
  #closing: Promise<void> | undefined

  constructor(options: SessionUploadsOptions) {
    this.#options = options
    this.#dir = join(options.dir, randomBytes(16).toString('hex'))
  }

  /**
   * Begins an upload, or goes on with the one of this id, name and size; `offset` is where the client goes on.
   *
   * `owner` is the connection that asks: from now on an older one is told ERR_UPLOAD_CONFLICT where it goes on with this upload.
   */
  begin(start: UploadStart, limits: SessionLimits, owner?: object): Promise<{ offset: number }> {
    return this.#inTurn(async () => {
      this.#limits = limits
      if (this.#closing !== undefined) throw new UploadError('ERR_UPLOAD_FAILED')
      const known = this.#uploads.get(start.uploadId)
      return {
        offset: await (known === undefined ? this.#create(start, limits, owner) : this.#resume(known, start, owner)),
      }
    })
  }

  /** Takes the next bytes. `data` may be used again as soon as this returns; the promise is for their place on the disk. */
  async write(uploadId: string, offset: number, data: Uint8Array, owner?: object): Promise<{ offset: number }> {
    const upload = this.#underWay(uploadId, owner)
    if (offset !== upload.accepted || upload.readyAt !== undefined) throw this.#refusal('ERR_UPLOAD_OFFSET')
    const refused = this.#refusedNow(upload)
    if (refused !== undefined) throw await this.#drop(upload, new UploadError(refused))
    // The file has grown while it was sent.
    if (data.length > upload.facts.size - offset) {
      throw await this.#drop(upload, new UploadError('ERR_UPLOAD_HASH_MISMATCH'))
    }
    try {
      const end = await upload.append(data)
      this.#options.counts?.uploadBytes(data.length)
      return { offset: end }
    } catch (error) {
      throw await this.#drop(upload, uploadErrorOf(error))
    }
  }

  /**
   * Compares with the client's SHA-256 (lower-case hexadecimal), and puts the file into RAP_Transfers. Doing it twice is doing it once; `isNew` is
   * true for the first time.
   */
  async end(uploadId: string, sha256: string, owner?: object): Promise<{ name: string; size: number; isNew: boolean }> {
    const upload = this.#underWay(uploadId, owner)
    const refused = this.#refusedNow(upload)
    if (refused !== undefined) throw await this.#drop(upload, new UploadError(refused))
    const isNew = await upload.finish(sha256, Date.now()).catch(async (error: unknown) => {
      const { code } = uploadErrorOf(error)
      if (code === 'ERR_UPLOAD_OFFSET' || code === 'ERR_UPLOAD_CONFLICT') throw this.#refusal(code)
      throw await this.#drop(upload, uploadErrorOf(error))
    })
    if (isNew) {
      this.#options.counts?.uploadEnded('ready')
      this.#changed()
    }
    const { name, size } = upload.facts
    return { name, size, isNew }
  }

  /** Gives up an upload, or takes a ready file out of RAP_Transfers. */
  cancel(uploadId: string): Promise<void> {
    // In turn: a cancel right behind its begin finds what the begin has made.
    return this.#inTurn(async () => {
      const upload = this.#uploads.get(uploadId)
      if (upload === undefined) throw new UploadError('ERR_UPLOAD_UNKNOWN')
      await this.#drop(upload, new UploadError('ERR_UPLOAD_CANCELLED'))
    })
  }

  /** The limits in force from now on; an upload under way that they do not let in any more is refused with its next message. */
  setLimits(limits: SessionLimits): void {
    this.#limits = limits
  }

  /** How many uploads there are, ready or not. */
  get count(): number {
    return this.#uploads.size
  }

  /** All uploads of the session, in the order in which they began. */
  transfers(): Transfer[] {
    return [...this.#uploads.values()].map(upload => upload.transfer())
  }

  list(): readonly DriveFile[] {
    this.#listed ??= [...this.#uploads.values()].flatMap(({ facts: { id, name, size }, readyAt }) =>
      readyAt === undefined ? [] : [{ id, name, size, modifiedAt: readyAt }],
    )
    return this.#listed
  }

  read(file: DriveFile, offset: number, length: number, done: (result: ReadResult) => void): void {
    const upload = this.#uploads.get(file.id)
    const isRange = [offset, length].every(number => Number.isSafeInteger(number) && number >= 0)
    const inside = upload !== undefined && isRange && offset + length <= upload.facts.size
    if (!inside || upload.readyAt === undefined) {
      done('failed')
      return
    }
    upload.read(offset, length).then(done, (err: unknown) => {
      if (err instanceof UploadError && err.code === 'ERR_UPLOAD_DAMAGED') {
        void this.#damaged(upload, err).then(() => done('damaged'))
        return
      }
      this.#options.logger.warn({ event: 'upload_not_read', err }, 'upload not read')
      done('failed')
    })
  }

  /** `listener` is called with the id of each file that somebody else has changed on the disk; it is taken away then. Returns what ends that. */
  onDamaged(listener: (uploadId: string) => void): () => void {
    this.#damageListeners.add(listener)
    return () => this.#damageListeners.delete(listener)
  }

  /** `listener` is called after every change of `transfers()` but progress. Returns what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Ends everything: keys at once, bytes on the disk when this resolves. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#remove()
    return this.#closing
  }

  async #create(start: UploadStart, limits: SessionLimits, owner: object | undefined): Promise<number> {
    const { uploadId: id, name: givenName, size } = start
    const safe = safeFileName(givenName)
    if (safe === undefined) throw new UploadError('ERR_UPLOAD_NAME')
    const held = { files: this.#uploads.size, bytes: this.#announcedBytes() }
    const refused = refusalOfFile({ name: safe, size }, limits) ?? refusalOfOneMore(held, size, limits)
    if (refused !== undefined) throw new UploadError(refused)
    const taken = new Set([...this.#uploads.values()].map(({ nameKey }) => nameKey))
    const name = distinctName(safe, key => taken.has(key))
    const { room, files } = this.#options
    const reservation = await room.reserve(size)
    try {
      if (!this.#hasDir) await mkdir(this.#dir, { mode: 0o700 })
      this.#hasDir = true
      const upload = await Upload.create({ id, givenName, name, size }, { dir: this.#dir, files, reservation })
      upload.owner = owner
      if (this.#closing !== undefined) throw await this.#gone(upload)
      this.#uploads.set(id, upload)
    } catch (error) {
      reservation.release()
      throw error
    }
    this.#changed()
    return 0
  }

  async #gone(upload: Upload): Promise<UploadError> {
    const reason = new UploadError('ERR_UPLOAD_FAILED')
    await upload.discard(reason)
    return reason
  }

  async #resume(upload: Upload, { name, size }: UploadStart, owner: object | undefined): Promise<number> {
    if (upload.facts.givenName !== name || upload.facts.size !== size) throw new UploadError('ERR_UPLOAD_CONFLICT')
    upload.owner = owner
    const refused = this.#refusedNow(upload)
    if (refused !== undefined) {
      const reason = new UploadError(refused)
      await this.#take(upload, reason)
      throw reason
    }
    // The older connection's last pieces are written first; they count.
    const offset = await upload.settle()
    await upload.renewRoom().catch(async (error: unknown) => {
      const reason = uploadErrorOf(error)
      await this.#take(upload, reason)
      throw reason
    })
    return offset
  }

  #underWay(uploadId: string, owner: object | undefined): Upload {
    const upload = this.#uploads.get(uploadId)
    if (upload === undefined) throw this.#refusal('ERR_UPLOAD_UNKNOWN')
    if (owner !== undefined && upload.owner !== owner) throw this.#refusal('ERR_UPLOAD_CONFLICT')
    return upload
  }

  /** What the limits in force say of an upload that is not ready yet. */
  #refusedNow(upload: Upload): UploadRefusal | undefined {
    if (this.#limits === undefined || upload.readyAt !== undefined) return undefined
    return (
      refusalOfFile(upload.facts, this.#limits) ??
      (this.#announcedBytes() > this.#limits.upload_session_bytes ? 'ERR_UPLOAD_QUOTA' : undefined)
    )
  }

  #announcedBytes(): number {
    let bytes = 0
    for (const { facts } of this.#uploads.values()) bytes += facts.size
    return bytes
  }

  /** One change is a reason to trust none of the file. Those who listen hear of it before the list does without it. */
  async #damaged(upload: Upload, reason: UploadError): Promise<void> {
    if (this.#uploads.get(upload.facts.id) !== upload) return
    this.#options.logger.error({ event: 'upload_damaged', err: reason }, 'upload was changed on the disk')
    for (const listener of [...this.#damageListeners]) listener(upload.facts.id)
    await this.#drop(upload, reason)
  }

  /** Takes the upload away, counts it once, and returns why it is gone. */
  async #drop(upload: Upload, reason: UploadError): Promise<UploadError> {
    if (await this.#take(upload, reason)) this.#options.counts?.uploadEnded((upload.reason ?? reason).code)
    return upload.reason ?? reason
  }

  async #take(upload: Upload, reason: UploadError): Promise<boolean> {
    const isOurs = this.#uploads.get(upload.facts.id) === upload
    if (isOurs) this.#uploads.delete(upload.facts.id)
    const discarded = upload.discard(reason)
    if (isOurs) this.#changed()
    await discarded
    return isOurs
  }

  #refusal(code: UploadRefusal): UploadError {
    this.#options.counts?.uploadEnded(code)
    return new UploadError(code)
  }

  /** Runs what makes or removes an upload, one after the other. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work).catch((error: unknown) => {
      const refused = uploadErrorOf(error)
      if (refused !== error) this.#options.logger.error({ event: 'upload_failed', err: error }, 'upload failed')
      this.#options.counts?.uploadEnded(refused.code)
      throw refused
    })
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  #changed(): void {
    this.#listed = undefined
    for (const listener of [...this.#listeners]) listener()
  }

  async #remove(): Promise<void> {
    const reason = new UploadError('ERR_UPLOAD_FAILED')
    const uploads = [...this.#uploads.values()]
    this.#uploads.clear()
    const discarded = uploads.map(upload => upload.discard(reason))
    this.#changed()
    this.#listeners.clear()
    this.#damageListeners.clear()
    await Promise.all(discarded)
    await this.#turn
    try {
      await rm(this.#dir, { recursive: true, force: true })
    } catch (err) {
      this.#options.logger.error({ event: 'uploads_not_removed', err }, 'uploads not removed')
    }
  }
}
