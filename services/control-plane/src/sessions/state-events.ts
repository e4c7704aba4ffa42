import type { Logger, Sql } from '@rap/service-kit'

type Listener = () => void

/**
 * Tells this process when an attachment or a session changes its state, whichever instance changed it.
 *
 * The database notifies on two channels; a notice is a hint, and its hearers read the row. Notices can be lost while the
 * connection is made again, so hearers also look from time to time.
 */
export class StateEvents {
  readonly #listeners = new Map<string, Set<Listener>>()
  #close: () => Promise<void> = async () => {}

  /** Opens one connection that listens; postgres.js opens it again when it is lost. */
  static async open(sql: Sql, logger: Logger): Promise<StateEvents> {
    const events = new StateEvents()
    const onListen = () => {
      logger.debug({ event: 'state_events_listening' }, 'listening for state changes')
      // What happened while nobody listened is found by looking.
      events.#wakeAll()
    }
    const attachments = await sql.listen('rap_attachments', payload => events.#dispatch(payload), onListen)
    const sessions = await sql.listen('rap_sessions', payload => events.#dispatch(payload), onListen)
    events.#close = async () => {
      await attachments.unlisten()
      await sessions.unlisten()
    }
    return events
  }

  /** Calls `listener` on every change of this attachment or session, until the returned function is called. */
  on(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set()
    listeners.add(listener)
    this.#listeners.set(id, listeners)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(id)
    }
  }

  async close(): Promise<void> {
    await this.#close()
  }

  #dispatch(payload: string): void {
    for (const id of idsOf(payload)) for (const listener of this.#listeners.get(id) ?? []) listener()
  }

  #wakeAll(): void {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener()
  }
}

/** The ids of a notice. Everybody with a database role can notify, so its form is checked. */
function idsOf(payload: string): string[] {
  try {
    const { attachment_id: attachmentId, session_id: sessionId } = JSON.parse(payload) as Record<string, unknown>
    return [attachmentId, sessionId].filter(id => typeof id === 'string')
  } catch {
    return []
  }
}
