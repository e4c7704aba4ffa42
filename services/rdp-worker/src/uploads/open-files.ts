import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
const CREATE = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
const REOPEN = O_RDWR | O_NOFOLLOW
const OWNER_ONLY = 0o600

interface Entry {
  readonly handle: Promise<FileHandle>
  users: number
  /** It is closed once nobody uses it. */
  leaving: boolean
}

/** Open files of all sessions, a bounded number beside those in use: whoever begins a thousand uploads holds no thousand descriptors. */
export class OpenFiles {
  readonly #limit: number
  /** From the least to the most recently used. */
  readonly #entries = new Map<string, Entry>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Files that are open now. */
  get size(): number {
    return this.#entries.size
  }

  /** Makes an empty file that was not there. */
  create(path: string): Promise<void> {
    return this.#use(path, CREATE, async () => undefined)
  }

  /** Runs `work` with the file, which stays open for it. */
  use<T>(path: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    return this.#use(path, REOPEN, work)
  }

  /** Closes the file, or has it closed by whoever uses it last. */
  async forget(path: string): Promise<void> {
    const entry = this.#entries.get(path)
    if (entry === undefined) return
    this.#entries.delete(path)
    await this.#leave(entry)
  }

  async #use<T>(path: string, flags: number, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    const entry = this.#entries.get(path) ?? { handle: open(path, flags, OWNER_ONLY), users: 0, leaving: false }
    this.#entries.delete(path)
    this.#entries.set(path, entry)
    entry.users++
    try {
      return await work(await entry.handle)
    } catch (error) {
      // A file that could not be opened is tried again the next time.
      if (this.#entries.get(path) === entry) this.#entries.delete(path)
      entry.leaving = true
      throw error
    } finally {
      entry.users--
      if (entry.leaving) await this.#leave(entry)
      await this.#trim()
    }
  }

  async #trim(): Promise<void> {
    for (const [path, entry] of this.#entries) {
      if (this.#entries.size <= this.#limit) return
      if (entry.users > 0) continue
      this.#entries.delete(path)
      await this.#leave(entry)
    }
  }

  async #leave(entry: Entry): Promise<void> {
    entry.leaving = true
    if (entry.users > 0) return
    // What a close could still say concerns bytes that are read back before anybody relies on them, or none at all.
    await entry.handle.then(handle => handle.close()).catch(() => undefined)
  }
}
