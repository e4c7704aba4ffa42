import { type Static, Type } from '@sinclair/typebox'
import type { ClientContext } from './context.ts'
import { buildPath } from './http.ts'
import { nullable, type Page } from './model.ts'
import { type PageOptions, page } from './page.ts'
import { checked } from './shape.ts'

const Name = Type.String({ maxLength: 256 })
const Time = Type.String({ maxLength: 64 })
const Count = Type.Integer({ minimum: 0 })
const Kind = Type.Union([Type.Literal('worker'), Type.Literal('service')])
const Names = Type.Array(Name, { maxItems: 64 })
const Labels = Type.Record(Type.String({ maxLength: 128 }), Name)

/** A worker that has announced itself at least once. */
export const Worker = Type.Object({
  id: Name,
  name: Name,
  labels: Labels,
  public_url: Type.String({ maxLength: 512 }),
  version: Name,
  /** `active` or `revoked`. */
  state: Name,
  /** A heartbeat is there and says that the worker takes traffic. */
  alive: Type.Boolean(),
  load: nullable(Type.Object({ sessions: Count, max_sessions: Count })),
  live_attachments: Count,
  created_at: Time,
  announced_at: Time,
  revoked_at: nullable(Time),
})
export type Worker = Static<typeof Worker>
const WorkerPage = page(Worker)

/** Who may hold a platform certificate, with the newest one; none of it is key material. */
export const Identity = Type.Object({
  kind: Kind,
  /** Id of a worker, or name of a service. */
  id: Name,
  name: Name,
  dns_names: Names,
  ip_addresses: Names,
  labels: Labels,
  /** `active` or `revoked`. */
  state: Name,
  created_at: Time,
  revoked_at: nullable(Time),
  certificate: nullable(
    Type.Object({ serial: Name, thumbprint: Name, generation: Count, not_before: Time, not_after: Time }),
  ),
})
export type Identity = Static<typeof Identity>
const IdentityPage = page(Identity)

/** A join token after it was made: its secret is not told again. */
export const JoinToken = Type.Object({
  id: Name,
  kind: Kind,
  identity_id: Name,
  name: Name,
  dns_names: Names,
  ip_addresses: Names,
  labels: Labels,
  created_at: Time,
  expires_at: Time,
  used_at: nullable(Time),
  deleted_at: nullable(Time),
  state: Type.Union((['open', 'used', 'expired', 'deleted'] as const).map(state => Type.Literal(state))),
})
export type JoinToken = Static<typeof JoinToken>
const JoinTokenPage = page(JoinToken)

/** A join token as it is made. `join_token` is a secret, told this once. */
const NewJoinToken = Type.Object({
  id: Name,
  kind: Kind,
  identity_id: Name,
  join_token: Type.String({ minLength: 1, maxLength: 1024, pattern: '^[\\x21-\\x7e]+$' }),
  expires_at: Time,
})
export type NewJoinToken = Static<typeof NewJoinToken>

/** What was ended by a revocation. */
const Revoked = Type.Object({ revoked_at: Time, sessions_failed: Count })
export type Revoked = Static<typeof Revoked>

/** The names that a certificate is for: what clients and peers will call its owner. */
export interface RegisteredNames {
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  /** How long the token may be used, in seconds. */
  readonly ttlSeconds?: number
}

export interface WorkerEnrolment extends RegisteredNames {
  readonly name: string
  readonly labels?: Readonly<Record<string, string>>
  /** A worker that is registered already and enrols anew. */
  readonly workerId?: string
}

export interface ServiceEnrolment extends RegisteredNames {
  readonly service: 'gateway' | 'secret-resolver'
}

/** `/v1/workers`: listing is for owners and admins; the rest for owners of the platform. Nothing is sent twice by itself. */
export class Workers {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  async list({ cursor, limit }: PageOptions = {}): Promise<Page<Worker>> {
    const path = buildPath('/v1/workers', [], { cursor, limit })
    const { body } = await this.#context.account.call({ method: 'GET', path })
    return checked(WorkerPage, body, 'a page of workers')
  }

  /** Ends a worker's identity for good, and its live sessions with it. */
  async revoke(id: string): Promise<Revoked> {
    const path = buildPath('/v1/workers', [id, 'revoke'])
    const { body } = await this.#context.account.call({ method: 'POST', path, body: {} })
    return checked(Revoked, body, 'a revocation')
  }

  /**
   * Registers a worker's names and makes the token that it enrols with, once.
   * Throws RapError: ERR_IDENTITY_NAMES_INVALID, ERR_PLATFORM_CA_UNMANAGED.
   */
  async createJoinToken(enrolment: WorkerEnrolment): Promise<NewJoinToken> {
    const { name, labels, workerId } = enrolment
    const { body } = await this.#context.account.call({
      method: 'POST',
      path: '/v1/workers/join-tokens',
      body: {
        name,
        ...namesBody(enrolment),
        ...(labels !== undefined && { labels }),
        ...(workerId !== undefined && { worker_id: workerId }),
      },
    })
    return checked(NewJoinToken, body, 'a join token')
  }
}

/** `/v1/join-tokens`, for owners of the platform. */
export class JoinTokens {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  /** The newest first. */
  async list({ cursor, limit }: PageOptions = {}): Promise<Page<JoinToken>> {
    const path = buildPath('/v1/join-tokens', [], { cursor, limit })
    const { body } = await this.#context.account.call({ method: 'GET', path })
    return checked(JoinTokenPage, body, 'a page of join tokens')
  }

  /** Makes a token for a service; for workers see `rap.workers.createJoinToken`. */
  async createForService(enrolment: ServiceEnrolment): Promise<NewJoinToken> {
    const { body } = await this.#context.account.call({
      method: 'POST',
      path: '/v1/services/join-tokens',
      body: { service: enrolment.service, ...namesBody(enrolment) },
    })
    return checked(NewJoinToken, body, 'a join token')
  }

  /** From then on it enrols nobody. */
  async delete(id: string): Promise<void> {
    await this.#context.account.call({ method: 'DELETE', path: buildPath('/v1/join-tokens', [id]) })
  }
}

/** `/v1/identities`: who may hold a platform certificate, for owners of the platform. */
export class Identities {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  async list({ cursor, limit }: PageOptions = {}): Promise<Page<Identity>> {
    const path = buildPath('/v1/identities', [], { cursor, limit })
    const { body } = await this.#context.account.call({ method: 'GET', path })
    return checked(IdentityPage, body, 'a page of identities')
  }

  /** Refuses a service's certificates until it is registered again. */
  async revokeService(id: string): Promise<Revoked> {
    return await this.#revoke(buildPath('/v1/services', [id, 'revoke']))
  }

  /** Takes back one certificate, such as one from a stolen backup; its owner keeps the identity. */
  async revokeCertificate(serial: string): Promise<Revoked> {
    return await this.#revoke(buildPath('/v1/certificates', [serial, 'revoke']))
  }

  async #revoke(path: string): Promise<Revoked> {
    const { body } = await this.#context.account.call({ method: 'POST', path, body: {} })
    return checked(Revoked, body, 'a revocation')
  }
}

function namesBody({ dnsNames = [], ipAddresses = [], ttlSeconds }: RegisteredNames) {
  return {
    dns_names: dnsNames,
    ip_addresses: ipAddresses,
    ...(ttlSeconds !== undefined && { ttl_seconds: ttlSeconds }),
  }
}
