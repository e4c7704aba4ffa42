import { type Static, Type } from '@sinclair/typebox'
import type { ClientContext } from './context.ts'
import { RapError, RapNetworkError } from './errors.ts'
import { EventStreamParser } from './event-stream.ts'
import { buildPath, streamOf } from './http.ts'
import { Attachment, nullable, SessionRecord } from './model.ts'
import { checked } from './shape.ts'

/** The whole state of a session after a change; a client that missed one has missed nothing. */
export const SessionEvent = Type.Object({ session: SessionRecord, attachment: nullable(Attachment) })
export type SessionEvent = Static<typeof SessionEvent>

/** Pause before a stream is opened again, doubling up to the second value, in milliseconds. */
const REOPEN_MS = 500
const MAX_REOPEN_MS = 8000
/** Streams that may fail in a row before the failure is told. */
const MAX_FAILURES = 6

/**
 * Follows a session until it is over: the server ends a stream now and then, and this opens the next one.
 * Ends without an error when `signal` is aborted. Throws RapError.
 */
export async function* sessionEvents(
  context: ClientContext,
  sessionId: string,
  signal?: AbortSignal,
): AsyncGenerator<SessionEvent, void> {
  let last = ''
  for (let failures = 0; ; ) {
    try {
      for await (const data of oneStream(context, sessionId, signal)) {
        failures = 0
        if (data === last) continue
        last = data
        const event = checked(SessionEvent, parsed(data), 'a session event')
        yield event
        if (event.session.state === 'terminated' || event.session.state === 'failed') return
      }
    } catch (error) {
      if (signal?.aborted) return
      const mayPass = error instanceof RapNetworkError || (error instanceof RapError && (error.status ?? 0) >= 500)
      if (!mayPass || ++failures >= MAX_FAILURES) throw error
    }
    if (!(await paused(Math.min(REOPEN_MS * 2 ** failures, MAX_REOPEN_MS), signal))) return
  }
}

async function* oneStream({ account }: ClientContext, sessionId: string, signal: AbortSignal | undefined) {
  const path = buildPath('/v1/sessions', [sessionId, 'events'])
  const body = await account.stream({ method: 'GET', path, headers: { accept: 'text/event-stream' }, signal })
  const parser = new EventStreamParser()
  const decoder = new TextDecoder()
  try {
    for await (const chunk of streamOf(body)) {
      for (const { type, data } of parser.push(decoder.decode(chunk, { stream: true })))
        if (type === 'session') yield data
    }
  } catch (cause) {
    if (cause instanceof RapError) throw cause
    throw new RapNetworkError('network', 'event stream was lost', { cause })
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (cause) {
    throw new RapError('ERR_RESPONSE_INVALID', 'event is not JSON', {}, { cause })
  }
}

/** Answers false where `signal` was aborted meanwhile. */
function paused(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise(resolve => {
    if (signal?.aborted) return resolve(false)
    const onAbort = () => {
      clearTimeout(timer)
      resolve(false)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve(true)
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
