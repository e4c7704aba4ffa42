import { Readable } from 'node:stream'
import type { RapServer } from '@rap/service-kit'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { BEARER, IdParams } from '../http/schemas.ts'
import { requireSession } from './access.ts'
import { hasEnded } from './states.ts'
import { newestAttachment } from './storage.ts'
import { asItIs, attachmentView, sessionView } from './view.ts'

/** Streams of one user, and of everybody, on one instance. */
const MAX_PER_USER = 20
const MAX_TOTAL = 2000
/** A comment line at least this often keeps proxies from closing a silent stream. */
const HEARTBEAT_MS = 15_000
/** No stream outlives this; the client opens another one, with a token that is good then. */
const MAX_STREAM_MS = 15 * 60_000

/**
 * `/v1/sessions/:id/events`: server-sent events (HTML Standard §9.2) with the state of one session.
 *
 * Each event is the whole state, so a client that missed some has missed nothing. The stream ends when the session is
 * over, when the access token expires, when the caller may not see the session any more, and when the service drains.
 */
export function sessionEventRoutes(app: RapServer, ctx: Context): void {
  const open = new Map<string, number>()
  let total = 0

  app.get(
    '/v1/sessions/:id/events',
    {
      onRequest: authenticate(ctx),
      exposeHeadRoute: false,
      schema: {
        tags: ['sessions'],
        security: BEARER,
        summary: 'The state of a session as it changes (text/event-stream)',
        params: IdParams,
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { id } = await requireSession(ctx.sql, caller, { id: request.params.id, use: 'read' })
      const own = open.get(caller.id) ?? 0
      if (own >= MAX_PER_USER || total >= MAX_TOTAL) throw problems.ERR_SESSION_EVENTS_LIMIT()
      open.set(caller.id, own + 1)
      total += 1
      const gone = new AbortController()
      reply.raw.once('close', () => {
        gone.abort()
        total -= 1
        const left = (open.get(caller.id) ?? 1) - 1
        if (left > 0) open.set(caller.id, left)
        else open.delete(caller.id)
      })
      const signal = AbortSignal.any([gone.signal, ctx.signal])
      const stream = Readable.from(eventsOf(ctx, caller, { sessionId: id, signal }), { objectMode: false })
      return (
        reply
          .type('text/event-stream; charset=utf-8')
          .header('cache-control', 'no-store')
          .header('x-accel-buffering', 'no')
          // A connection that is kept would hold up a service that drains.
          .header('connection', 'close')
          .send(stream)
      )
    },
  )
}

/** One stream as text. A reader that is slow holds this generator still: it takes the newest state when it goes on. */
async function* eventsOf(
  ctx: Context,
  caller: Caller,
  { sessionId, signal }: { sessionId: string; signal: AbortSignal },
): AsyncGenerator<string, void> {
  const endsAt = Math.min(Date.now() + MAX_STREAM_MS, caller.expires_at.getTime())
  const changes = new Changes()
  const stop = ctx.events.on(sessionId, () => changes.note())
  const onAbort = () => changes.note()
  signal.addEventListener('abort', onAbort, { once: true })
  let last = ''
  try {
    for (let number = 1; ; ) {
      const session = await requireSession(ctx.sql, caller, { id: sessionId, use: 'read' }).catch(() => undefined)
      if (session === undefined) return
      const attachment = await newestAttachment(ctx.sql, sessionId)
      const data = JSON.stringify({
        session: sessionView(session),
        attachment: attachment === undefined ? null : attachmentView(attachment, session),
      })
      if (data !== last) {
        last = data
        yield `id: ${number++}\nevent: session\ndata: ${data}\n\n`
      } else yield ': heartbeat\n\n'
      if (hasEnded(asItIs(session).state) || signal.aborted || Date.now() >= endsAt) return
      await changes.wait(Math.min(HEARTBEAT_MS, endsAt - Date.now()))
      if (signal.aborted || Date.now() >= endsAt) return
    }
  } finally {
    stop()
    signal.removeEventListener('abort', onAbort)
    changes.note()
  }
}

/** Remembers that something changed, so that a change between two waits is not lost. */
class Changes {
  #changed = false
  #wake: () => void = () => {}

  note(): void {
    this.#changed = true
    this.#wake()
  }

  async wait(ms: number): Promise<void> {
    if (!this.#changed) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>(resolve => {
        this.#wake = resolve
        timer = setTimeout(resolve, Math.max(0, ms))
      })
      clearTimeout(timer)
    }
    this.#changed = false
  }
}
