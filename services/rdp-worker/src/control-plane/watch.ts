import { type CloseReason, isCloseReason } from '@rap/data-plane-protocol'
import type { Logger, Redis } from '@rap/service-kit'
import type { ControlPlane } from './client.ts'

/** Time between two polls of the live attachments, in milliseconds: a lost hint costs this much. */
const POLL_MS = 5000
/** Longest hint that is read, in characters. */
const MAX_HINT_CHARACTERS = 1024
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
/** States in which the source of truth wants an attachment to live. */
const LIVE = new Set(['assigning', 'ready', 'active'])

export interface WatchOptions {
  /** A connection of its own: a subscription holds it. */
  readonly redis: Redis
  readonly controlPlane: ControlPlane
  readonly logger: Logger
  readonly workerId: string
  readonly attachments: () => readonly string[]
  readonly onEnded: (attachmentId: string, reason: CloseReason) => void
}

/**
 * Watches over the attachments of this worker.
 *
 * A message in Redis is a hint that anybody could have written: the source of truth is asked before anything is closed, and is asked every few
 * seconds anyway.
 */
export class AttachmentWatch {
  readonly #options: WatchOptions
  readonly #timer: NodeJS.Timeout
  readonly #asking = new Set<string>()

  constructor(options: WatchOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#poll(), POLL_MS)
    this.#timer.unref()
  }

  async start(): Promise<void> {
    const { redis, workerId } = this.#options
    redis.on('message', (_channel: string, text: string) => this.#onHint(text))
    await redis.subscribe(`rap:worker:${workerId}:control`)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #onHint(text: string): void {
    if (text.length > MAX_HINT_CHARACTERS) return
    const id = text.match(/"attachment_id"\s*:\s*"([0-9a-f-]{36})"/)?.[1]
    // A flood of hints costs one question an attachment at a time, and none for foreign ones.
    if (id === undefined || !UUID.test(id) || this.#asking.has(id) || !this.#options.attachments().includes(id)) return
    this.#asking.add(id)
    void this.#ask([id]).finally(() => this.#asking.delete(id))
  }

  async #poll(): Promise<void> {
    const ids = this.#options.attachments()
    if (ids.length > 0) await this.#ask(ids)
  }

  async #ask(ids: readonly string[]): Promise<void> {
    const { controlPlane, logger, onEnded } = this.#options
    try {
      for (const { attachment_id, state, reason } of await controlPlane.attachments(ids)) {
        if (!LIVE.has(state))
          onEnded(attachment_id, isCloseReason(reason ?? '') ? (reason as CloseReason) : reasonOf(state))
      }
    } catch (error) {
      logger.warn({ event: 'attachments_not_polled', count: ids.length, err: error }, 'attachments not polled')
    }
  }
}

const reasonOf = (state: string): CloseReason =>
  state === 'superseded' ? 'ERR_SESSION_TAKEN_OVER' : 'ERR_SESSION_TERMINATED'
