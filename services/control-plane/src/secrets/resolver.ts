import { commonProblems, InternalClient, type InternalClientOptions, ProblemError } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Caller } from '../auth/caller.ts'
import { problems } from '../errors.ts'
import { Uuid } from '../http/schemas.ts'

/** What the resolver says of a stored secret; never the secret. */
export const SecretMetadata = Type.Object({
  secret_ref: Type.String({ maxLength: 256 }),
  version: Type.Integer(),
  key_id: Type.String({ maxLength: 256 }),
  algorithm: Type.String({ maxLength: 64 }),
  payload_sha256: Type.String({ maxLength: 128, description: 'Over the stored ciphertext' }),
  created_at: Type.String({ maxLength: 64 }),
  created_by: Type.Union([Uuid, Type.Null()]),
})
export type SecretMetadata = Static<typeof SecretMetadata>

const Coordinate = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** The key that clients seal secrets to (RFC 7517). */
export const SealingKey = Type.Object({
  kty: Type.Literal('EC'),
  crv: Type.Literal('P-256'),
  x: Coordinate,
  y: Coordinate,
  kid: Type.String({ maxLength: 128 }),
  use: Type.Literal('enc'),
  alg: Type.Literal('ECDH-ES+A256KW'),
})
export type SealingKey = Static<typeof SealingKey>

/** One resource's place for a secret. */
export interface SecretPlace {
  readonly organizationId: string
  readonly resourceId: string
}

/** What the control plane asks of the secret-resolver. It passes on bytes that it cannot open. */
export interface ResolverPort {
  sealingKey(): Promise<SealingKey>
  /** Throws ProblemError: the resolver's own for a refused secret, ERR_SECRET_RESOLVER_UNAVAILABLE. */
  write(
    place: SecretPlace,
    sealed: { readonly sealed: string; readonly expectedVersion: number | undefined },
    caller: Caller,
  ): Promise<SecretMetadata>
  read(place: SecretPlace, caller: Caller): Promise<SecretMetadata>
  delete(place: SecretPlace, caller: Caller, expectedVersion?: number | undefined): Promise<void>
}

/** Less than the time that a locked resource row may keep others waiting. */
const TIMEOUT_MS = 5000

/** The resolver behind its mutual-TLS API. */
export class HttpResolver implements ResolverPort {
  readonly #client: InternalClient

  constructor(options: Omit<InternalClientOptions, 'timeoutMs' | 'maxResponseBytes'>) {
    this.#client = new InternalClient({ ...options, timeoutMs: TIMEOUT_MS, maxResponseBytes: 64 * 1024 })
  }

  async sealingKey(): Promise<SealingKey> {
    return expected(SealingKey, await this.#ask({ method: 'GET', path: '/v1/sealing-key' }))
  }

  async write(
    place: SecretPlace,
    { sealed, expectedVersion }: { readonly sealed: string; readonly expectedVersion: number | undefined },
    caller: Caller,
  ): Promise<SecretMetadata> {
    const body = { sealed, ...orderOf(caller, expectedVersion) }
    const answer = await this.#ask({ method: 'PUT', path: pathOf(place), body, requestId: caller.origin.requestId })
    return expected(SecretMetadata, answer)
  }

  async read(place: SecretPlace, caller: Caller): Promise<SecretMetadata> {
    const answer = await this.#ask({ method: 'GET', path: pathOf(place), requestId: caller.origin.requestId })
    return expected(SecretMetadata, answer)
  }

  async delete(place: SecretPlace, caller: Caller, expectedVersion?: number | undefined): Promise<void> {
    const body = orderOf(caller, expectedVersion)
    await this.#ask({ method: 'DELETE', path: pathOf(place), body, requestId: caller.origin.requestId })
  }

  async #ask(request: Parameters<InternalClient['request']>[0]): Promise<unknown> {
    try {
      return await this.#client.request(request)
    } catch (error) {
      throw asPublicProblem(error)
    }
  }
}

/** Refusals that speak about the caller's request are passed on; all else is our own trouble with the resolver. */
const PASSED_ON: ReadonlySet<string> = new Set([
  'ERR_SECRET_NOT_FOUND',
  'ERR_SECRET_VERSION_CONFLICT',
  'ERR_SECRET_PAYLOAD_INVALID',
  'ERR_SEALED_SECRET_INVALID',
  'ERR_SEALED_SECRET_MISDIRECTED',
  'ERR_SEALING_KEY_UNKNOWN',
])

function asPublicProblem(error: unknown): unknown {
  if (!(error instanceof ProblemError)) return error
  if (PASSED_ON.has(error.code)) return error
  return problems.ERR_SECRET_RESOLVER_UNAVAILABLE({ facts: { upstream_code: error.code }, cause: error })
}

function orderOf(caller: Caller, expectedVersion: number | undefined) {
  return {
    actor_user_id: caller.id,
    request_id: caller.origin.requestId,
    ...(expectedVersion === undefined ? {} : { expected_version: expectedVersion }),
  }
}

function pathOf({ organizationId, resourceId }: SecretPlace): string {
  return `/v1/secrets/${organizationId}/${resourceId}/rdp-primary`
}

function expected<T extends typeof SecretMetadata | typeof SealingKey>(schema: T, answer: unknown): Static<T> {
  if (Value.Check(schema, answer)) return answer as Static<T>
  throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ facts: { received: 'an answer of another form' } })
}
