import type { SessionUploads } from '../uploads/session-uploads.ts'
import type { UploadStores } from '../uploads/stores.ts'

/** Most sessions that a worker remembers beside the attached ones; the oldest goes first, with its files. */
const MAX_SESSIONS = 10_000
/** Most names that are told of one session; both sides can invent them without end, attachment by attachment. */
const MAX_NAMES = 256

/** What lives on this worker as long as a session does, over all its attachments. */
export class LiveSession {
  readonly uploads: SessionUploads
  readonly #told = new Set<string>()
  readonly #names = new Set<string>()

  constructor(uploads: SessionUploads) {
    this.uploads = uploads
  }

  /** True the first time that something is to be told of this session; what it may be is a closed list of ours. */
  isNews(what: string): boolean {
    if (this.#told.has(what)) return false
    this.#told.add(what)
    return true
  }

  /** The same for names that come from outside, for a bounded number of them. */
  isNewName(name: string): boolean {
    if (this.#names.has(name) || this.#names.size === MAX_NAMES) return false
    this.#names.add(name)
    return true
  }
}

/** The sessions that this worker knows, from their first attachment here until the source of truth says that they are over. */
export class Sessions {
  readonly #stores: UploadStores
  readonly #sessions = new Map<string, LiveSession>()

  constructor(stores: UploadStores) {
    this.#stores = stores
  }

  of(sessionId: string): LiveSession {
    const known = this.#sessions.get(sessionId)
    if (known !== undefined) {
      // The one that is attached again is the youngest.
      this.#sessions.delete(sessionId)
      this.#sessions.set(sessionId, known)
      return known
    }
    const oldest = this.#sessions.keys().next().value
    if (this.#sessions.size >= MAX_SESSIONS && oldest !== undefined) void this.forget(oldest)
    const session = new LiveSession(this.#stores.of(sessionId))
    this.#sessions.set(sessionId, session)
    return session
  }

  ids(): string[] {
    return [...this.#sessions.keys()]
  }

  /** The session is over: what it uploaded is gone once this resolves. */
  async forget(sessionId: string): Promise<void> {
    this.#sessions.delete(sessionId)
    await this.#stores.wipe(sessionId)
  }

  async forgetAll(): Promise<void> {
    this.#sessions.clear()
    await this.#stores.wipeAll()
  }
}
