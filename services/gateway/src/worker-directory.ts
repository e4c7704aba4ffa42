import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { type InternalClient, type Logger, ProblemError } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Refusal } from './refusal.ts'

/** Time between two polls, in milliseconds: with a round trip, how long a revocation takes to get here. */
const INTERVAL_MS = 2000
/** Pause after a poll that failed: a control plane that has just started is found soon. */
const RETRY_MS = 500
/** How long workers that are known are still dialled while the control plane does not answer, in milliseconds. */
const USABLE_MS = 15 * 60_000
/** A worker that is not known is a reason to look again, but not more often than this, in milliseconds. */
const LOOK_AGAIN_MS = 200
const MAX_URL_CHARACTERS = 512

const Text = (maxLength: number) => Type.String({ minLength: 1, maxLength })
const Directory = Type.Object({
  workers: Type.Array(
    Type.Object({
      id: Text(64),
      public_url: Text(MAX_URL_CHARACTERS),
      names: Type.Union([Type.Array(Text(253), { maxItems: 64 }), Type.Null()]),
    }),
  ),
  trust_mode: Type.Union([
    Type.Literal('platform_ca'),
    Type.Literal('public_ca'),
    // For clients in smoke tests; a gateway never dials anybody unverified.
    Type.Literal('smoke_insecure'),
  ]),
  revoked_thumbprints: Type.Array(Text(64)),
})
type Directory = Static<typeof Directory>

/** A worker that may be dialled. */
export interface WorkerPlace {
  readonly url: URL
  /** Registered host names and addresses; null where nobody registers any. */
  readonly names: readonly string[] | null
  /** Whose word counts for the certificate: the platform's own CA, or the public authorities. */
  readonly trust: 'platform_ca' | 'public_ca'
}

interface Reading {
  readonly etag: string
  readonly workers: ReadonlyMap<string, WorkerPlace | undefined>
  readonly revokedThumbprints: ReadonlySet<string>
  /** When the control plane last said that it is so, by the clock of the options. */
  readonly confirmedAt: number
}

export interface WorkerDirectoryOptions {
  readonly client: Pick<InternalClient, 'requestTagged'>
  readonly logger: Logger
  readonly onPoll?: (outcome: 'changed' | 'unchanged' | 'failed') => void
  readonly intervalMs?: number
  readonly usableMs?: number
  /** Monotonic clock, in milliseconds. */
  readonly now?: () => number
}

/**
 * Which workers there are and where they answer, by the word of the control plane alone.
 * INVARIANT: closed. Without a directory, and with one that nobody has confirmed for a quarter of an hour, nobody is dialled.
 */
export class WorkerDirectory {
  readonly #options: WorkerDirectoryOptions
  readonly #now: () => number
  readonly #listeners: (() => void)[] = []
  #reading: Reading | undefined
  #running: Promise<void> | undefined
  #askedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  #isFailing = false

  constructor(options: WorkerDirectoryOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Asks once and goes on by itself. Does not reject: without an answer nobody is dialled. */
  async start(): Promise<void> {
    await this.refresh()
    this.#schedule()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  /** Called after each answer that changed something. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Asks now, or waits for the answer to a question that is under way. */
  refresh(): Promise<void> {
    this.#running ??= this.#poll().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Where a worker answers. Throws Refusal ERR_WORKER_UNREACHABLE for one that is not in a directory that counts. */
  async find(workerId: string): Promise<WorkerPlace> {
    // One that was registered a moment ago is in the next answer.
    const isNew = this.#usable()?.workers.has(workerId) !== true
    if (isNew && this.#now() - this.#askedAt >= LOOK_AGAIN_MS) await this.refresh()
    else if (isNew) await this.#running
    const reading = this.#usable()
    if (reading === undefined) throw new Refusal('ERR_WORKER_UNREACHABLE', this.#missing)
    if (!reading.workers.has(workerId)) throw new Refusal('ERR_WORKER_UNREACHABLE', 'worker_not_in_directory')
    const place = reading.workers.get(workerId)
    if (place === undefined) throw new Refusal('ERR_WORKER_UNREACHABLE', 'worker_url_malformed')
    return place
  }

  /**
   * Whether a connection that is there may go on: not once the control plane has said that the worker, or the certificate
   * that it showed, is revoked. A control plane that does not answer ends no connection.
   */
  carries(workerId: string, thumbprint: string): boolean {
    if (this.#reading === undefined) return true
    return this.#reading.workers.has(workerId) && !this.isRevokedCertificate(thumbprint)
  }

  isRevokedCertificate(thumbprint: string): boolean {
    return this.#reading?.revokedThumbprints.has(thumbprint) === true
  }

  /** For `/readyz`. */
  status(): string {
    return this.#usable() === undefined ? this.#missing.replaceAll('_', ' ') : 'ok'
  }

  get #missing(): string {
    return this.#reading === undefined ? 'no_directory' : 'directory_stale'
  }

  #usable(): Reading | undefined {
    const { usableMs = USABLE_MS } = this.#options
    return this.#reading !== undefined && this.#now() - this.#reading.confirmedAt < usableMs ? this.#reading : undefined
  }

  #schedule(): void {
    if (this.#isClosed) return
    const { intervalMs = INTERVAL_MS } = this.#options
    const pause = this.#isFailing ? Math.min(RETRY_MS, intervalMs) : intervalMs
    this.#timer = setTimeout(() => void this.refresh().finally(() => this.#schedule()), pause)
    this.#timer.unref()
  }

  async #poll(): Promise<void> {
    const { client, logger, onPoll } = this.#options
    const askedAt = this.#now()
    this.#askedAt = askedAt
    try {
      const path = '/internal/v1/workers/directory'
      const answer = await client.requestTagged<unknown>({ path }, this.#reading?.etag)
      if (!answer.unchanged) this.#reading = readingOf(answer.body, answer.etag, askedAt)
      else if (this.#reading !== undefined) this.#reading = { ...this.#reading, confirmedAt: askedAt }
      this.#isFailing = false
      onPoll?.(answer.unchanged ? 'unchanged' : 'changed')
      if (!answer.unchanged) for (const listener of this.#listeners) listener()
    } catch (err) {
      // Refused by a control plane that is there: this gateway is to dial nobody any more.
      if (err instanceof ProblemError && err.status === 403) this.#reading = undefined
      if (!this.#isFailing) logger.warn({ event: 'worker_directory_not_read', err }, 'worker directory not read')
      this.#isFailing = true
      onPoll?.('failed')
    }
  }
}

function readingOf(body: unknown, etag: string, confirmedAt: number): Reading {
  if (!Value.Check(Directory, body)) throw new TypeError('worker directory is out of form')
  const trust = body.trust_mode === 'public_ca' ? 'public_ca' : 'platform_ca'
  return {
    etag,
    confirmedAt,
    workers: new Map(body.workers.map(worker => [worker.id, placeOf(worker, trust)])),
    revokedThumbprints: new Set(body.revoked_thumbprints),
  }
}

/** Undefined for a URL that is anything but `wss://host[:port]/data-plane/v1`. */
function placeOf(
  { public_url: text, names }: Directory['workers'][number],
  trust: WorkerPlace['trust'],
): WorkerPlace | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  return url.protocol === 'wss:' && url.pathname === DATA_PLANE_PATH && isPlain ? { url, names, trust } : undefined
}
