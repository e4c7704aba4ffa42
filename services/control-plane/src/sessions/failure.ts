import { ProblemError as Problem, type ProblemError } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'

const Sentence = Type.String({ maxLength: 1000 })

/** Why an attachment failed, from the worker to the client's screen: a stable code, plain words and a remedy. */
export const Failure = Type.Object({
  code: Type.String({ maxLength: 80, pattern: '^ERR_[A-Z0-9]+(_[A-Z0-9]+)*$' }),
  title: Type.String({ maxLength: 200 }),
  detail: Type.Optional(Sentence),
  remedy: Type.Optional(Sentence),
})
export type Failure = Static<typeof Failure>

/** No worker reported anything within the time of a start. */
export const START_TIMEOUT: Failure = {
  code: 'ERR_SESSION_START_TIMEOUT',
  title: 'The worker did not get ready in time',
  detail: 'The target may be slow to answer, or the worker is overloaded.',
  remedy: 'Try again. If it happens again, look at the worker and at the way from it to the target.',
}

/** The worker is gone. */
export const LEASE_LOST: Failure = {
  code: 'ERR_SESSION_LEASE_LOST',
  title: 'The worker of the session is gone',
  detail: 'It stopped renewing its lease on the session.',
  remedy: 'Start the session again; another worker takes it.',
}

/** An administrator took back what the worker of the session proves itself with. */
export const WORKER_REVOKED: Failure = {
  code: 'ERR_WORKER_REVOKED',
  title: 'The worker of the session was revoked',
  detail: 'An administrator has withdrawn its right to carry sessions, so the connection was closed.',
  remedy: 'Start the session again; another worker takes it.',
}

/** The order could not be handed to the worker. */
export const COORDINATION_UNAVAILABLE: Failure = {
  code: 'ERR_SESSION_COORDINATION_UNAVAILABLE',
  title: 'Sessions cannot be coordinated at the moment',
  detail: 'The order could not be handed to the worker.',
  remedy: 'Try again in a moment.',
}

/** A failure as the answer to the start that it ended: 504 where somebody did not answer in time, 502 otherwise. */
export function problemOfFailure(failure: Failure, sessionId: string): ProblemError {
  const status = failure.code === COORDINATION_UNAVAILABLE.code ? 503 : /_TIME(D_)?OUT$/.test(failure.code) ? 504 : 502
  return new Problem({
    code: failure.code,
    status,
    title: failure.title,
    detail: failure.detail,
    extras: { session_id: sessionId, ...(failure.remedy === undefined ? {} : { remedy: failure.remedy }) },
  })
}
