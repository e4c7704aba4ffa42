import { MAX_CHUNK_BYTES, type SideMessage, UPLOAD_REFUSALS } from '@rap/data-plane-protocol'
import { RapError } from '../errors.ts'
import type { RunningSha256 } from '../platform/types.ts'
import { Ending } from './ending.ts'
import type { Link } from './link.ts'
import { BlockReader, type UploadSource } from './source.ts'

/** Bytes of one chunk: small enough that a slow network is heard of often, and that several uploads take turns. */
const CHUNK_BYTES = MAX_CHUNK_BYTES / 2
/** Time between two calls of `onProgress`, in milliseconds. */
const PROGRESS_MS = 100

export interface UploadOptions {
  /** The name in RAP_Transfers, before the worker makes it safe; default: the file's own. */
  readonly name?: string
  /**
   * A random UUID by which the worker knows the upload. With that of an upload that was cut off, of the same file in the
   * same session, it goes on where it was. Default: a fresh one.
   */
  readonly uploadId?: string
  /** Gives the upload up, here and on the worker. */
  readonly signal?: AbortSignal
  /** Told at most ten times a second: bytes that the worker has, of how many. */
  readonly onProgress?: (sent: number, total: number) => void
}

export interface UploadParts {
  readonly id: string
  readonly name: string
  readonly source: UploadSource
  readonly hash: RunningSha256
  readonly onProgress: UploadOptions['onProgress']
}

/** One file on its way, over as many links as it takes. INVARIANT: every byte is hashed once, in order, whatever is sent again. */
export class Upload {
  readonly id: string
  readonly name: string
  readonly size: number
  readonly #blocks: BlockReader
  readonly #hash: RunningSha256
  readonly #onProgress: UploadParts['onProgress']
  #hashed = 0
  #progressAtMs = Number.NEGATIVE_INFINITY
  /** What the worker has, by its own word on this link; undefined before its answer to the begin. */
  #acknowledged: number | undefined
  #nameThere: string | undefined
  readonly #failure = new Ending<RapError>()
  #hasBegun = false
  #isOverThere = false
  #wake = () => {}

  constructor({ id, name, source, hash, onProgress }: UploadParts) {
    this.id = id
    this.name = name
    this.size = source.size
    this.#blocks = new BlockReader(source)
    this.#hash = hash
    this.#onProgress = onProgress
  }

  /** True once the worker may have heard of the upload. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** True once the worker itself has ended the upload, so that it need not be cancelled there. */
  get isOverThere(): boolean {
    return this.#isOverThere
  }

  /** Takes a message of the current link that is about this upload. */
  take(message: Extract<SideMessage, { readonly upload_id: string }>): void {
    if (message.type === 'upload_progress') this.#acknowledged = message.offset
    else if (message.type === 'upload_done') this.finish(message.name)
    else this.fail(refusalOf(message.code, message), { isOverThere: true })
    this.#wake()
  }

  /** The file is in RAP_Transfers; its end may have been lost with a link, and the list of the next one tells it. */
  finish(name: string): void {
    this.#isOverThere = true
    this.#nameThere ??= name
    this.#wake()
  }

  fail(error: RapError, { isOverThere = false }: { isOverThere?: boolean } = {}): void {
    this.#isOverThere ||= isOverThere
    if (this.#nameThere === undefined) this.#failure.fail(error)
    this.#wake()
  }

  /** Waits, but not longer than until the upload fails. Throws the upload's error. */
  async orFailed<T>(promise: Promise<T>): Promise<T> {
    return await this.#failure.or(promise)
  }

  /** Sends what the worker does not have yet and answers the file's name there. Throws LinkLostError, RapError. */
  async run(link: Link): Promise<string> {
    if (this.#nameThere === undefined) await this.orFailed(this.#send(link))
    if (this.#nameThere === undefined) throw notOfTheProtocol()
    this.#onProgress?.(this.size, this.size)
    return this.#nameThere
  }

  async #send(link: Link): Promise<void> {
    this.#acknowledged = undefined
    this.#hasBegun = true
    await link.send({ type: 'upload_begin', upload_id: this.id, name: this.name, size: this.size })
    await this.#until(link, () => this.#acknowledged !== undefined)
    const offset = this.#acknowledged ?? 0
    if (offset > this.size) throw notOfTheProtocol()
    link.beginChunks(this.id, offset)
    await this.#hashUpTo(offset)
    for (let sent = offset; sent < this.size && !this.#isEnded; ) {
      const chunk = await this.#blocks.read(sent, CHUNK_BYTES)
      this.#hashPart(sent, chunk)
      await link.owed(this.orFailed(link.room(this.id, chunk.length)))
      if (this.#isEnded) break
      await link.sendChunk(this.id, sent, chunk)
      sent += chunk.length
      this.#tell()
    }
    if (this.#isEnded) return
    await link.send({ type: 'upload_end', upload_id: this.id, sha256: this.#hash.hex() })
    await this.#until(link, () => false)
  }

  get #isEnded(): boolean {
    return this.#nameThere !== undefined || this.#failure.error !== undefined
  }

  /** Waits for messages until the condition holds or the upload is over. Throws LinkLostError. */
  async #until(link: Link, holds: () => boolean): Promise<void> {
    while (!this.#isEnded && !holds()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await link.owed(promise)
      this.#tell()
    }
  }

  /** Hashes what an earlier run of the program has sent. */
  async #hashUpTo(offset: number): Promise<void> {
    while (this.#hashed < offset && !this.#isEnded) {
      const part = await this.#blocks.read(this.#hashed, Math.min(CHUNK_BYTES, offset - this.#hashed))
      this.#hashPart(this.#hashed, part)
    }
  }

  #hashPart(offset: number, bytes: Uint8Array): void {
    const seen = this.#hashed - offset
    if (seen >= bytes.length) return
    this.#hash.update(bytes.subarray(seen))
    this.#hashed = offset + bytes.length
  }

  #tell(): void {
    const now = performance.now()
    if (this.#onProgress === undefined || now - this.#progressAtMs < PROGRESS_MS) return
    this.#progressAtMs = now
    this.#onProgress(this.#acknowledged ?? 0, this.size)
  }
}

/** A refusal in the worker's words, or in those of the protocol where it said none. */
export function refusalOf(code: string, said: { detail?: string; remedy?: string | undefined } = {}): RapError {
  const known = Object.hasOwn(UPLOAD_REFUSALS, code) ? UPLOAD_REFUSALS[code as keyof typeof UPLOAD_REFUSALS] : undefined
  return new RapError(code, 'upload ended without a file', {
    detail: said.detail ?? known?.detail,
    remedy: said.remedy ?? known?.remedy,
  })
}

function notOfTheProtocol(): RapError {
  return new RapError('ERR_DATA_PLANE_PROTOCOL', 'worker acknowledged bytes that it was not sent')
}
