import { rm } from 'node:fs/promises'
import type { Logger } from '@rap/service-kit'
import { OpenFiles } from './open-files.ts'
import { Room } from './room.ts'
import { SessionUploads, type UploadCounts } from './session-uploads.ts'
import { openUploadDir } from './upload-dir.ts'

/** Files of all sessions that are kept open between reads and writes. */
const MAX_OPEN_FILES = 64

export interface UploadStoresOptions {
  /** Where the directory of this process is made; undefined: the system's directory for temporary files. */
  readonly dir: string | undefined
  readonly workerId: string
  /** Most bytes of all sessions together. */
  readonly maxBytes: number
  /** Bytes of the disk that uploads leave free. */
  readonly reserveBytes: number
  readonly logger: Logger
  readonly counts?: UploadCounts | undefined
}

/** The uploads of all sessions of this worker: ciphertext in a directory of this process, keys in its memory alone. */
export class UploadStores {
  readonly #dir: string
  readonly #logger: Logger
  readonly #counts: UploadCounts | undefined
  readonly #files = new OpenFiles(MAX_OPEN_FILES)
  readonly #room: Room
  readonly #sessions = new Map<string, SessionUploads>()
  readonly #wipes = new Set<Promise<void>>()
  #closed = false

  private constructor(dir: string, { maxBytes, reserveBytes, logger, counts }: UploadStoresOptions) {
    this.#dir = dir
    this.#room = new Room({ dir, maxBytes, reserveBytes })
    this.#logger = logger
    this.#counts = counts
  }

  /** Wipes what an earlier process of this worker left. Rejects: UploadDirError, and with what the file system says. */
  static async open(options: UploadStoresOptions): Promise<UploadStores> {
    return new UploadStores(await openUploadDir(options.dir, options.workerId), options)
  }

  /** Bytes of all uploads that are on the disk now. */
  get storedBytes(): number {
    return this.#room.storedBytes
  }

  /** The uploads of one session; nothing is on the disk before the first begin. After `wipeAll` every upload is refused. */
  of(sessionId: string): SessionUploads {
    const known = this.#sessions.get(sessionId)
    if (known !== undefined) return known
    const session = new SessionUploads({
      dir: this.#dir,
      files: this.#files,
      room: this.#room,
      logger: this.#logger,
      counts: this.#counts,
    })
    if (this.#closed) void session.close()
    else this.#sessions.set(sessionId, session)
    return session
  }

  /** Sessions that have been asked for and are not wiped. */
  sessionIds(): string[] {
    return [...this.#sessions.keys()]
  }

  /** Takes away everything of a session: keys at once, bytes on the disk when this resolves. Never rejects. */
  async wipe(sessionId: string): Promise<void> {
    const session = this.#sessions.get(sessionId)
    if (session === undefined) return
    this.#sessions.delete(sessionId)
    const wipe = session.close()
    this.#wipes.add(wipe)
    await wipe
    this.#wipes.delete(wipe)
  }

  /** Takes away everything, and the directory. Never rejects. */
  async wipeAll(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#wipes, ...this.sessionIds().map(id => this.wipe(id))])
    await rm(this.#dir, { recursive: true, force: true }).catch((err: unknown) =>
      this.#logger.error({ event: 'uploads_not_removed', err }, 'uploads not removed'),
    )
  }
}
