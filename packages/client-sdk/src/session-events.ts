import type { ClientContext } from './context.ts'
import { RapError } from './errors.ts'
import { EventStreamParser } from './event-stream.ts'
import { buildPath, streamOf } from './http.ts'

/** A change of a session. */
export interface SessionEvent {
  readonly id: string
  readonly type: string
  /** Parsed JSON; its members depend on `type`. */
  readonly data: unknown
}

/** Follows `/v1/sessions/:id/events`; ends when the server ends the stream. Throws RapError. */
export async function* sessionEvents(
  { account }: ClientContext,
  sessionId: string,
  signal?: AbortSignal,
): AsyncGenerator<SessionEvent, void> {
  const body = await account.stream({
    method: 'GET',
    path: buildPath('/v1/sessions', [sessionId, 'events']),
    headers: { accept: 'text/event-stream' },
    signal,
  })
  const parser = new EventStreamParser()
  const decoder = new TextDecoder()
  for await (const chunk of streamOf(body)) {
    for (const { id, type, data } of parser.push(decoder.decode(chunk, { stream: true }))) {
      yield { id, type, data: parseData(data) }
    }
  }
}

function parseData(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (cause) {
    throw new RapError('ERR_RESPONSE_INVALID', 'event is not JSON', {}, { cause })
  }
}
