import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { commonProblems, PROBLEM_CONTENT_TYPE, ProblemError, problemDocument } from './errors.ts'
import { describeViolation } from './validation.ts'

export type ErrorMapper = (error: unknown) => ProblemError | undefined
export type RefusalHook = (error: ProblemError, request: FastifyRequest) => Promise<void>

/** Fastify's own errors, by code, in our words. Their messages repeat input, so none of them is passed on. */
const FRAMEWORK_PROBLEMS: Readonly<Record<string, keyof typeof commonProblems>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'ERR_UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_CTP_BODY_TOO_LARGE: 'ERR_BODY_TOO_LARGE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'ERR_BODY_MALFORMED',
  FST_ERR_CTP_INVALID_JSON_BODY: 'ERR_BODY_MALFORMED',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'ERR_REQUEST_MALFORMED',
  FST_ERR_BAD_URL: 'ERR_REQUEST_MALFORMED',
  FST_ERR_MAX_PARAM_LENGTH: 'ERR_REQUEST_MALFORMED',
  FST_ERR_NOT_FOUND: 'ERR_NOT_FOUND',
  FST_ERR_HANDLER_TIMEOUT: 'ERR_UPSTREAM_TIMEOUT',
}

const STATUS_PROBLEMS: Readonly<Record<number, keyof typeof commonProblems>> = {
  400: 'ERR_REQUEST_MALFORMED',
  401: 'ERR_UNAUTHENTICATED',
  403: 'ERR_FORBIDDEN',
  404: 'ERR_NOT_FOUND',
  405: 'ERR_METHOD_NOT_ALLOWED',
  409: 'ERR_CONFLICT',
  413: 'ERR_BODY_TOO_LARGE',
  415: 'ERR_UNSUPPORTED_MEDIA_TYPE',
  429: 'ERR_RATE_LIMITED',
}

/** Any thrown value as a ProblemError; what nobody has classified becomes ERR_INTERNAL with the original as its cause. */
export function toProblem(thrown: unknown, mapError?: ErrorMapper): ProblemError {
  if (thrown instanceof ProblemError) return thrown
  const mapped = mapError?.(thrown)
  if (mapped !== undefined) return mapped
  const error = thrown as Partial<FastifyError>
  const [violation] = error?.validation ?? []
  if (violation !== undefined) {
    const problem = describeViolation(violation, error.validationContext ?? 'body')
    const where = problem.field === '' ? problem.in : `${problem.in}${problem.field}`
    return commonProblems.ERR_VALIDATION({
      detail: `${where} does not satisfy the rule "${problem.rule}"`,
      facts: { field: where, rule: problem.rule },
      extras: { errors: [problem] },
    })
  }
  const code = typeof error?.code === 'string' ? error.code : ''
  const known = FRAMEWORK_PROBLEMS[code]
  if (known !== undefined) return commonProblems[known]({ cause: thrown })
  if (thrown instanceof SyntaxError && error.statusCode === 400) {
    // The message of a JSON syntax error quotes the body, so it is not kept as a cause.
    return commonProblems.ERR_BODY_MALFORMED()
  }
  const status = error?.statusCode
  if (typeof status === 'number' && status >= 400 && status < 500) return problemOfStatus(status, thrown)
  return commonProblems.ERR_INTERNAL({ cause: thrown })
}

function problemOfStatus(status: number, cause: unknown): ProblemError {
  const known = STATUS_PROBLEMS[status]
  if (known !== undefined) return commonProblems[known]({ cause })
  return new ProblemError({
    code: `ERR_HTTP_${status}`,
    status,
    title: STATUS_CODES[status] ?? 'Request refused',
    cause,
  })
}

export function sendProblem(reply: FastifyReply, problem: ProblemError): FastifyReply {
  return reply
    .code(problem.status)
    .type(PROBLEM_CONTENT_TYPE)
    .serializer(JSON.stringify as (payload: unknown) => string)
    .send(problemDocument(problem, reply.request.id))
}

interface ProblemHandlerOptions {
  mapError?: ErrorMapper | undefined
  onRefusal?: RefusalHook | undefined
}

/** The one place where errors become answers: the client gets the problem document, the log gets facts, cause and stack. */
export function problemHandler({ mapError, onRefusal }: ProblemHandlerOptions) {
  return async (error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const problem = toProblem(error, mapError)
    if (problem.status >= 500) {
      // The wrapper of an unclassified error says nothing that its cause does not say better.
      const err = problem.code === 'ERR_INTERNAL' && problem.cause instanceof Error ? problem.cause : problem
      request.log.error({ event: 'request_failed', code: problem.code, status: problem.status, err }, 'request failed')
    } else {
      request.log.info(
        { event: 'request_refused', code: problem.code, status: problem.status, facts: { ...problem.facts } },
        'request refused',
      )
    }
    if (problem.audit !== undefined && onRefusal !== undefined) {
      try {
        await onRefusal(problem, request)
      } catch (auditError) {
        request.log.error({ event: 'audit_write_failed', err: auditError }, 'audit event of a refusal was not written')
      }
    }
    return sendProblem(reply, problem)
  }
}
