import type { ClientContext } from './context.ts'
import { generateSessionKey, type SessionKey } from './dpop.ts'
import { buildPath } from './http.ts'
import { type Page, SessionRecord, SessionWithAttachment } from './model.ts'
import { type PageOptions, page } from './page.ts'
import { type Display, type Session, sessionOf } from './session.ts'
import { checked } from './shape.ts'

export interface StartOptions {
  readonly resourceId: string
  readonly display?: Display
  /** Makes a repeated start safe: the same key, from the same client, gives the same session. Default: a fresh one. */
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

export interface SessionFilter extends PageOptions {
  readonly organizationId?: string
  readonly state?: SessionRecord['state']
  readonly resourceId?: string
}

/** Session keys that are kept for a repeated start. */
const MAX_REMEMBERED_KEYS = 16

const SessionPage = page(SessionRecord)

/** `/v1/sessions`. */
export class Sessions {
  readonly #context: ClientContext
  readonly #keys = new Map<string, Promise<SessionKey>>()

  constructor(context: ClientContext) {
    this.#context = context
  }

  /**
   * Starts a session: makes its key, and waits until a worker has logged on to the target or says exactly why it did not.
   * Throws RapError with the failure's code, detail and remedy.
   */
  async start(options: StartOptions): Promise<Session> {
    const { resourceId, display, idempotencyKey = crypto.randomUUID(), signal } = options
    const key = await this.#keyFor(idempotencyKey)
    const answer = await this.#context.account.call({
      method: 'POST',
      path: '/v1/sessions',
      body: { resource_id: resourceId, dpop_jkt: key.thumbprint, ...(display !== undefined && { display }) },
      headers: { 'idempotency-key': idempotencyKey },
      timeoutMs: this.#context.timeouts.startMs,
      signal,
    })
    return sessionOf(this.#context, key, answer)
  }

  /** A repeated start must be the same request, and the session's key is a part of it. */
  #keyFor(idempotencyKey: string): Promise<SessionKey> {
    const known = this.#keys.get(idempotencyKey)
    if (known !== undefined) return known
    const key = generateSessionKey()
    this.#keys.set(idempotencyKey, key)
    const [oldest] = this.#keys.keys()
    if (this.#keys.size > MAX_REMEMBERED_KEYS && oldest !== undefined) this.#keys.delete(oldest)
    return key
  }

  /** Attaches to a session that another client of this user started, or this one before a reload, with a key of its own. */
  async attach(
    sessionId: string,
    { takeover, display }: { takeover?: boolean; display?: Display } = {},
  ): Promise<Session> {
    const key = await generateSessionKey()
    const answer = await this.#context.account.call({
      method: 'POST',
      path: buildPath('/v1/sessions', [sessionId, 'attachments']),
      body: {
        dpop_jkt: key.thumbprint,
        ...(takeover !== undefined && { takeover }),
        ...(display !== undefined && { display }),
      },
      timeoutMs: this.#context.timeouts.startMs,
    })
    return sessionOf(this.#context, key, answer)
  }

  async get(id: string): Promise<SessionWithAttachment> {
    const { body } = await this.#context.account.call({ method: 'GET', path: buildPath('/v1/sessions', [id]) })
    return checked(SessionWithAttachment, body, 'a session')
  }

  async list({ organizationId, resourceId, state, cursor, limit }: SessionFilter = {}): Promise<Page<SessionRecord>> {
    const path = buildPath('/v1/sessions', [], {
      organization_id: organizationId,
      resource_id: resourceId,
      state,
      cursor,
      limit,
    })
    const { body } = await this.#context.account.call({ method: 'GET', path })
    return checked(SessionPage, body, 'a page of sessions')
  }

  async terminate(id: string): Promise<void> {
    await this.#context.account.call({ method: 'POST', path: buildPath('/v1/sessions', [id, 'terminate']), body: {} })
  }
}
