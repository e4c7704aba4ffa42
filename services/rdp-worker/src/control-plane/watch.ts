import { type CloseReason, isCloseReason } from '@rap/data-plane-protocol'
import type { Logger, Redis } from '@rap/service-kit'
import { policyOf, type RuntimePolicy } from '../sessions/runtime-policy.ts'
import type { ControlPlane } from './client.ts'

/**
 * Time between two polls of the live attachments, in milliseconds: a lost hint costs this much, and a change of policy is in
 * force within two seconds.
 */
const POLL_MS = 1500
/** Pause after Redis refused the subscription, in milliseconds. */
const SUBSCRIBE_RETRY_MS = 1000
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
  /** Sessions that this worker keeps something of. */
  readonly sessions: () => readonly string[]
  readonly onEnded: (attachmentId: string, reason: CloseReason) => void
  /** A client is bound, as far as the source of truth knows. */
  readonly onActive: (attachmentId: string) => void
  readonly onPolicy: (attachmentId: string, policy: RuntimePolicy) => void
  /** The session has ended, or goes on elsewhere. */
  readonly onSessionOver: (sessionId: string) => void
  /** Default POLL_MS. */
  readonly pollMs?: number | undefined
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
  #polling = false
  #closed = false

  constructor(options: WatchOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#poll(), options.pollMs ?? POLL_MS)
    this.#timer.unref()
  }

  /** Listens for hints. A Redis that is away is tried again: until then the polls do the work. */
  async start(): Promise<void> {
    const { redis } = this.#options
    redis.on('message', (_channel: string, text: string) => this.#onHint(text))
    await this.#subscribe()
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
  }

  async #subscribe(): Promise<void> {
    const { redis, workerId, logger } = this.#options
    try {
      // Once is enough: the client subscribes again after every reconnection.
      await redis.subscribe(`rap:worker:${workerId}:control`)
    } catch (error) {
      if (this.#closed) return
      logger.warn({ event: 'hints_not_subscribed', err: error }, 'hints not subscribed')
      setTimeout(() => void this.#subscribe(), SUBSCRIBE_RETRY_MS).unref()
    }
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
    if (this.#polling || this.#closed) return
    this.#polling = true
    await this.#ask(ids, this.#options.sessions())
    this.#polling = false
  }

  async #ask(ids: readonly string[], sessionIds: readonly string[] = []): Promise<void> {
    const { controlPlane, logger, onEnded, onActive, onPolicy, onSessionOver } = this.#options
    try {
      const { attachments, sessions } = await controlPlane.attachments(ids, sessionIds)
      for (const { attachment_id, state, reason, limits, ...words } of attachments) {
        if (!LIVE.has(state)) {
          onEnded(attachment_id, closeReasonOf(state, reason))
          continue
        }
        if (limits !== null) onPolicy(attachment_id, policyOf({ ...words, limits }))
        if (state === 'active') onActive(attachment_id)
      }
      for (const { session_id, live } of sessions) if (!live) onSessionOver(session_id)
    } catch (error) {
      logger.warn({ event: 'attachments_not_polled', count: ids.length, err: error }, 'attachments not polled')
    }
  }
}

function closeReasonOf(state: string, reason: string | null): CloseReason {
  if (reason !== null && isCloseReason(reason)) return reason
  return state === 'superseded' ? 'ERR_SESSION_TAKEN_OVER' : 'ERR_SESSION_TERMINATED'
}
