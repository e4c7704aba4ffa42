import { InternalClient, type InternalClientOptions, ProblemError } from '@rap/service-kit'
import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Caller } from '../auth/caller.ts'
import { problems } from '../errors.ts'

/** Less than the time that a locked resource row may keep others waiting. */
const TIMEOUT_MS = 5000
/** Bounds the longest answer, every master key that ever was, in bytes. */
const MAX_RESPONSE_BYTES = 2 * 1024 * 1024

/** What the resolver is asked for: on whose behalf, and within which time. */
export interface ResolverRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Its variable parts need no encoding. */
  readonly path: string
  readonly caller?: Caller
  /** Members beside the caller's own; a request without a caller has no body. */
  readonly body?: Readonly<Record<string, unknown>>
  /** In milliseconds; 5 s when absent. */
  readonly timeoutMs?: number
}

/** The resolver behind its mutual-TLS API. Every failure is a ProblemError that people may see. */
export class ResolverClient {
  readonly #client: InternalClient

  constructor(options: Omit<InternalClientOptions, 'timeoutMs' | 'maxResponseBytes'>) {
    this.#client = new InternalClient({ ...options, timeoutMs: TIMEOUT_MS, maxResponseBytes: MAX_RESPONSE_BYTES })
  }

  /**
   * Sends one request and answers what has the form of `schema`.
   * Throws ProblemError: the resolver's own refusal, ERR_SECRET_RESOLVER_UNAVAILABLE for everything else.
   */
  async ask<T extends TSchema>(schema: T, request: ResolverRequest): Promise<Static<T>> {
    const answer = await this.tell(request)
    if (Value.Check(schema, answer)) return answer
    throw problems.ERR_SECRET_RESOLVER_UNAVAILABLE({ facts: { received: 'an answer of another form' } })
  }

  /** As `ask`, for a request whose answer says no more than that it was done. */
  async tell({ method, path, caller, body, timeoutMs }: ResolverRequest): Promise<unknown> {
    try {
      return await this.#client.request({
        method,
        path,
        ...(caller !== undefined && { requestId: caller.origin.requestId }),
        ...(caller !== undefined && method !== 'GET' && { body: { ...body, ...actorOf(caller) } }),
        ...(timeoutMs !== undefined && { timeoutMs }),
      })
    } catch (error) {
      throw asPublicProblem(error)
    }
  }
}

/** Refusals that speak about the caller's request are passed on; all else is our own trouble with the resolver. */
const PASSED_ON: ReadonlySet<string> = new Set([
  'ERR_SECRET_NOT_FOUND',
  'ERR_SECRET_VERSION_NOT_FOUND',
  'ERR_SECRET_VERSION_CONFLICT',
  'ERR_SECRET_UNREADABLE',
  'ERR_SECRET_PAYLOAD_INVALID',
  'ERR_SEALED_SECRET_INVALID',
  'ERR_SEALED_SECRET_MISDIRECTED',
  'ERR_SEALING_KEY_UNKNOWN',
  'ERR_MASTER_KEY_NONE_ACTIVE',
  'ERR_MASTER_KEY_UNKNOWN',
  'ERR_MASTER_KEY_SOURCE_UNKNOWN',
  'ERR_MASTER_KEY_ALREADY_ACTIVE',
  'ERR_MASTER_KEY_NOT_EVERYWHERE',
  'ERR_MASTER_KEY_RETIRED',
  'ERR_MASTER_KEY_ACTIVE',
  'ERR_MASTER_KEY_IN_USE',
  'ERR_MASTER_KEY_CHANGED',
  'ERR_MASTER_KEY_PROVIDER',
  'ERR_REWRAP_RUNNING',
  'ERR_REWRAP_UNKNOWN',
])

function asPublicProblem(error: unknown): unknown {
  if (!(error instanceof ProblemError)) return error
  if (PASSED_ON.has(error.code)) return error
  return problems.ERR_SECRET_RESOLVER_UNAVAILABLE({ facts: { upstream_code: error.code }, cause: error })
}

function actorOf(caller: Caller) {
  return { actor_user_id: caller.id, request_id: caller.origin.requestId }
}
