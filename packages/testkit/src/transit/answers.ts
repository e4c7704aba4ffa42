import { randomUUID } from 'node:crypto'

export type Members = Readonly<Record<string, unknown>>

/** An answer before it is written: `errors` for a refusal, else what the engine or the log-in has to say. */
export interface Answer {
  readonly status: number
  readonly data?: Members | undefined
  readonly auth?: Members | undefined
  /** The whole body, for the paths under `sys` that answer without the envelope. */
  readonly bare?: Members
  readonly warnings?: readonly string[]
  readonly errors?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
}

/** 200 with data, or 204 without. */
export function ok(data?: Members): Answer {
  return data === undefined ? { status: 204 } : { status: 200, data }
}

export function badRequest(error: string): Answer {
  return { status: 400, errors: [error] }
}

/** What the server says when an engine has nothing at the path. */
export function notFound(): Answer {
  return { status: 404, errors: [] }
}

export function forbidden(): Answer {
  // Newer servers gather errors; a client that compares the whole text would miss this one.
  return { status: 403, errors: ['1 error occurred:\n\t* permission denied\n\n'] }
}

/** The JSON of an answer: the envelope of every logical response, or `{"errors": …}`. Empty for 204. */
export function bodyOf(answer: Answer): string {
  if (answer.errors !== undefined) return `${JSON.stringify({ errors: answer.errors })}\n`
  if (answer.bare !== undefined) return `${JSON.stringify(answer.bare)}\n`
  if (answer.status === 204) return ''
  const envelope = {
    request_id: randomUUID(),
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    data: answer.data ?? null,
    wrap_info: null,
    warnings: answer.warnings ?? null,
    auth: answer.auth ?? null,
  }
  return `${JSON.stringify(envelope)}\n`
}
