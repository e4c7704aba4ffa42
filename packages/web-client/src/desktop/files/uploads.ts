import type { Transfer, Transfers } from '@rap/client-sdk'
import type { Explanation } from '../../auth/auth.tsx'
import { shownName } from './shown-name.ts'

/** Files that are sent at the same time, as many as the connection lets; the others wait. */
const AT_ONCE = 4
/** Weight of the newest measurement of the speed. */
const SMOOTHING = 0.3
/** Between two measurements, in milliseconds. */
const MEASURE_MS = 500

/** One file of this page on its way to the desktop. */
export interface Upload {
  readonly id: string
  readonly name: string
  readonly size: number
  readonly state: 'waiting' | 'sending' | 'failed'
  /** Whether it can be sent again from here. */
  readonly isHere: boolean
  /** Bytes that the worker has. */
  readonly sent: number
  /** Undefined until it is known. */
  readonly bytesPerSecond: number | undefined
  readonly failure: Explanation | undefined
}

/** How a file ended, for whoever does not look. */
export type UploadEnd = { readonly name: string; readonly failure: Explanation | undefined }

interface Entry {
  /** Undefined for one that was sent, and lost on the worker. */
  readonly file: File | undefined
  /** It goes on with an upload of which the page knows no more than name and size: it may be of another file. */
  readonly isTakenUp: boolean
  abort: AbortController
  upload: Upload
  measured: { readonly atMs: number; readonly sent: number }
}

/**
 * The files that this page sends, in the order in which they were chosen.
 *
 * It outlives a connection: a file that was cut off keeps its id, so that it goes on where it was in the same session.
 */
export class Uploads {
  /** Told when a file has arrived, or has failed. */
  onEnd: (end: UploadEnd) => void = () => undefined
  readonly #explain: (error: unknown) => Explanation
  readonly #listeners = new Set<() => void>()
  readonly #entries = new Map<string, Entry>()
  #transfers: Transfers | undefined
  #sessionId: string | undefined
  #state: readonly Upload[] = []

  constructor(explain: (error: unknown) => Explanation) {
    this.#explain = explain
  }

  get state(): readonly Upload[] {
    return this.#state
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Sends over another connection from now on; what an earlier one left off in the same session goes on. */
  use(transfers: Transfers | undefined, sessionId: string | undefined): void {
    const isSame = sessionId === this.#sessionId
    this.#transfers = transfers
    if (sessionId !== undefined) {
      if (!isSame && this.#sessionId !== undefined) this.#clear()
      this.#sessionId = sessionId
    }
    if (transfers === undefined) return
    for (const entry of this.#entries.values()) {
      if (entry.upload.state === 'failed' && goesOn(entry.upload)) this.#wait(entry)
    }
    this.#next()
  }

  add(files: readonly File[]): void {
    for (const file of files) this.#add(file, crypto.randomUUID())
    this.#next()
  }

  /** Sends a file that an earlier page has begun to send; what the worker has of it need not be sent again. */
  takeUp(file: File, id: string): void {
    this.#add(file, id, { isTakenUp: true })
    this.#next()
  }

  has(id: string): boolean {
    return this.#entries.has(id)
  }

  /** Shows a file that was refused before anything of it was sent. */
  addRefused(file: File, failure: Explanation): void {
    this.#add(file, crypto.randomUUID(), { failure })
    this.#tell()
    this.onEnd({ name: shownName(file.name), failure })
  }

  /** Shows a file that has arrived and is there no more. */
  addLost({ upload_id: id, name, size }: Transfer, failure: Explanation): void {
    this.#entries.set(id, entryOf({ id, name, size, failure }))
    this.#tell()
    this.onEnd({ name: shownName(name), failure })
  }

  /** Gives a file up, and takes its line away. */
  cancel = (id: string): void => {
    const entry = this.#entries.get(id)
    this.#entries.delete(id)
    entry?.abort.abort()
    this.#next()
  }

  retry = (id: string): void => {
    const entry = this.#entries.get(id)
    if (entry?.file === undefined) return
    // A refused id is known to the worker as ended; one that was cut off goes on.
    const { failure } = entry.upload
    if (failure !== undefined && !isInterrupted(failure)) {
      this.#entries.delete(id)
      this.add([entry.file])
      return
    }
    this.#wait(entry)
    this.#next()
  }

  #add(file: File, id: string, more: Pick<EntryStart, 'failure' | 'isTakenUp'> = {}): void {
    const { name, size } = file
    this.#entries.set(id, entryOf({ id, name, size, file, ...more }))
  }

  #wait(entry: Entry): void {
    entry.abort = new AbortController()
    entry.upload = { ...entry.upload, state: 'waiting', failure: undefined, bytesPerSecond: undefined }
  }

  #clear(): void {
    for (const { abort } of this.#entries.values()) abort.abort()
    this.#entries.clear()
  }

  #next(): void {
    const transfers = this.#transfers
    const waiting = [...this.#entries.values()].filter(({ upload }) => upload.state === 'waiting')
    const busy = [...this.#entries.values()].filter(({ upload }) => upload.state === 'sending').length
    for (const entry of waiting.slice(0, AT_ONCE - busy)) {
      if (transfers !== undefined && entry.file !== undefined) void this.#send(transfers, entry, entry.file)
    }
    this.#tell()
  }

  async #send(transfers: Transfers, entry: Entry, file: File): Promise<void> {
    const { id } = entry.upload
    const { signal } = entry.abort
    entry.upload = { ...entry.upload, state: 'sending' }
    entry.measured = { atMs: performance.now(), sent: entry.upload.sent }
    try {
      const { name } = await transfers.upload(file, {
        uploadId: id,
        name: file.name,
        signal,
        onProgress: sent => this.#progressed(entry, sent),
      })
      this.#entries.delete(id)
      this.onEnd({ name, failure: undefined })
    } catch (error) {
      const failure = this.#explain(error)
      if (!signal.aborted && entry.isTakenUp && IS_ANOTHER.has(failure.code)) {
        this.#entries.delete(id)
        this.#add(file, crypto.randomUUID())
      } else if (!signal.aborted) {
        // The browser never reads a file again that has changed since it was chosen.
        const isHere = failure.code !== 'ERR_FILE_UNREADABLE'
        entry.upload = { ...entry.upload, state: 'failed', failure, isHere }
        this.onEnd({ name: entry.upload.name, failure })
      }
    }
    this.#next()
  }

  #progressed(entry: Entry, sent: number): void {
    const { atMs, sent: before } = entry.measured
    const elapsedMs = performance.now() - atMs
    let { bytesPerSecond } = entry.upload
    if (elapsedMs >= MEASURE_MS && sent >= before) {
      const now = ((sent - before) * 1000) / elapsedMs
      bytesPerSecond = bytesPerSecond === undefined ? now : bytesPerSecond + SMOOTHING * (now - bytesPerSecond)
      entry.measured = { atMs: performance.now(), sent }
    }
    entry.upload = { ...entry.upload, sent, bytesPerSecond }
    this.#tell()
  }

  #tell(): void {
    this.#state = [...this.#entries.values()].map(({ upload }) => upload)
    for (const listener of this.#listeners) listener()
  }
}

interface EntryStart extends Pick<Upload, 'id' | 'name' | 'size'> {
  readonly file?: File
  readonly failure?: Explanation | undefined
  readonly isTakenUp?: boolean
}

function entryOf({ id, name, size, file, failure, isTakenUp = false }: EntryStart): Entry {
  const state = failure === undefined ? 'waiting' : 'failed'
  const isHere = file !== undefined
  const upload = {
    id,
    name: shownName(name),
    size,
    state,
    isHere,
    sent: 0,
    bytesPerSecond: undefined,
    failure,
  } as const
  return { file, isTakenUp, abort: new AbortController(), upload, measured: { atMs: 0, sent: 0 } }
}

/** What is said where an upload that was taken up is of another file. */
const IS_ANOTHER = new Set(['ERR_UPLOAD_CONFLICT', 'ERR_UPLOAD_HASH_MISMATCH'])

/** Failures of the connection rather than of the file. */
const INTERRUPTED = new Set([
  'ERR_NETWORK',
  'ERR_NO_PATH',
  'ERR_TIMEOUT',
  'ERR_CONNECTION_LOST',
  'ERR_DATA_PLANE_CLOSED',
  'ERR_TRANSFERS_CLOSED',
])

/** True for a file that is sent on by itself once the session is connected: it is on its way, or was cut off. */
export function goesOn({ isHere, failure }: Upload): boolean {
  return isHere && (failure === undefined || isInterrupted(failure))
}

function isInterrupted({ code }: Explanation): boolean {
  return INTERRUPTED.has(code) || code.startsWith('ERR_SESSION_') || code.startsWith('ERR_BIND_')
}
