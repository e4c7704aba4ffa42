import type { Transfers } from '@rap/client-sdk'
import { type Explanation, explain } from '../../auth/auth.tsx'
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
  /** Bytes that the worker has. */
  readonly sent: number
  /** Undefined until it is known. */
  readonly bytesPerSecond: number | undefined
  readonly failure: Explanation | undefined
}

/** How a file ended, for whoever does not look. */
export type UploadEnd = { readonly name: string; readonly failure: Explanation | undefined }

interface Entry {
  readonly file: File
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
  readonly #listeners = new Set<() => void>()
  readonly #entries = new Map<string, Entry>()
  #transfers: Transfers | undefined
  #sessionId: string | undefined
  #state: readonly Upload[] = []

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
      if (entry.upload.failure !== undefined && isInterrupted(entry.upload.failure)) this.#wait(entry)
    }
    this.#next()
  }

  add(files: readonly File[]): void {
    for (const file of files) {
      const id = crypto.randomUUID()
      this.#entries.set(id, entryOf(id, file, undefined))
    }
    this.#next()
  }

  /** Shows a file that was refused before anything of it was sent. */
  addRefused(file: File, failure: Explanation): void {
    const id = crypto.randomUUID()
    const entry = entryOf(id, file, failure)
    this.#entries.set(id, entry)
    this.#tell()
    this.onEnd({ name: entry.upload.name, failure })
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
    if (entry === undefined) return
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
    if (transfers !== undefined) for (const entry of waiting.slice(0, AT_ONCE - busy)) void this.#send(transfers, entry)
    this.#tell()
  }

  async #send(transfers: Transfers, entry: Entry): Promise<void> {
    const { id } = entry.upload
    const { signal } = entry.abort
    entry.upload = { ...entry.upload, state: 'sending' }
    entry.measured = { atMs: performance.now(), sent: entry.upload.sent }
    try {
      const { name } = await transfers.upload(entry.file, {
        uploadId: id,
        name: entry.file.name,
        signal,
        onProgress: sent => this.#progressed(entry, sent),
      })
      this.#entries.delete(id)
      this.onEnd({ name, failure: undefined })
    } catch (error) {
      if (!signal.aborted) {
        const failure = explain(error)
        entry.upload = { ...entry.upload, state: 'failed', failure }
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

function entryOf(id: string, file: File, failure: Explanation | undefined): Entry {
  const { size } = file
  const state = failure === undefined ? 'waiting' : 'failed'
  const upload = { id, name: shownName(file.name), size, state, sent: 0, bytesPerSecond: undefined, failure } as const
  return { file, abort: new AbortController(), upload, measured: { atMs: 0, sent: 0 } }
}

/** Failures of the connection rather than of the file. */
const INTERRUPTED = new Set([
  'ERR_NETWORK',
  'ERR_NO_PATH',
  'ERR_TIMEOUT',
  'ERR_CONNECTION_LOST',
  'ERR_DATA_PLANE_CLOSED',
  'ERR_TRANSFERS_CLOSED',
])

function isInterrupted({ code }: Explanation): boolean {
  return INTERRUPTED.has(code) || code.startsWith('ERR_SESSION_') || code.startsWith('ERR_BIND_')
}
