import { type Static, Type } from '@sinclair/typebox'
import type { Caller } from '../auth/caller.ts'
import { Nullable, Uuid } from '../http/schemas.ts'
import type { ResolverClient } from './resolver-client.ts'

const Instant = Type.String({ maxLength: 64 })

/** What the resolver says of a stored secret; never the secret. */
export const SecretMetadata = Type.Object({
  secret_ref: Type.String({ maxLength: 256 }),
  version: Type.Integer(),
  key_id: Type.String({ maxLength: 256 }),
  algorithm: Type.String({ maxLength: 64 }),
  payload_sha256: Type.String({ maxLength: 128, description: 'Over the stored ciphertext' }),
  created_at: Instant,
  created_by: Nullable(Uuid),
})
export type SecretMetadata = Static<typeof SecretMetadata>

/** One entry of a secret's history. */
export const SecretVersion = Type.Composite([
  SecretMetadata,
  Type.Object({
    state: Type.Union([Type.Literal('live'), Type.Literal('superseded'), Type.Literal('destroyed')], {
      description: 'live: in force; superseded: can be rolled back to; destroyed: its content is gone',
    }),
    superseded_at: Nullable(Instant),
    destroy_after: Nullable(Instant),
    destroyed_at: Nullable(Instant),
  }),
])
export type SecretVersion = Static<typeof SecretVersion>

/** The newest hundred versions, the newest first. */
export const SecretVersions = Type.Object({ items: Type.Array(SecretVersion, { maxItems: 100 }) })
export type SecretVersions = Static<typeof SecretVersions>

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

/** What the control plane asks of the secret-resolver about secrets. It passes on bytes that it cannot open. */
export interface ResolverPort {
  sealingKey(): Promise<SealingKey>
  /** Throws ProblemError: the resolver's own for a refused secret, ERR_SECRET_RESOLVER_UNAVAILABLE. */
  write(
    place: SecretPlace,
    sealed: { readonly sealed: string; readonly expectedVersion: number | undefined },
    caller: Caller,
  ): Promise<SecretMetadata>
  read(place: SecretPlace, caller: Caller): Promise<SecretMetadata>
  /** Empty for a place that never had a secret. */
  versions(place: SecretPlace, caller: Caller): Promise<SecretVersions>
  /** The content of an older version as the next one. Throws as `write`. */
  rollback(
    place: SecretPlace,
    order: { readonly toVersion: number; readonly expectedVersion: number | undefined },
    caller: Caller,
  ): Promise<SecretMetadata>
  delete(place: SecretPlace, caller: Caller, expectedVersion?: number | undefined): Promise<void>
}

/** The resolver itself. */
export class HttpResolver implements ResolverPort {
  readonly #client: ResolverClient

  constructor(client: ResolverClient) {
    this.#client = client
  }

  async sealingKey(): Promise<SealingKey> {
    return await this.#client.ask(SealingKey, { method: 'GET', path: '/v1/sealing-key' })
  }

  async write(
    place: SecretPlace,
    { sealed, expectedVersion }: { readonly sealed: string; readonly expectedVersion: number | undefined },
    caller: Caller,
  ): Promise<SecretMetadata> {
    const body = { sealed, ...expecting(expectedVersion) }
    return await this.#client.ask(SecretMetadata, { method: 'PUT', path: pathOf(place), body, caller })
  }

  async read(place: SecretPlace, caller: Caller): Promise<SecretMetadata> {
    return await this.#client.ask(SecretMetadata, { method: 'GET', path: pathOf(place), caller })
  }

  async versions(place: SecretPlace, caller: Caller): Promise<SecretVersions> {
    return await this.#client.ask(SecretVersions, { method: 'GET', path: `${pathOf(place)}/versions`, caller })
  }

  async rollback(
    place: SecretPlace,
    { toVersion, expectedVersion }: { readonly toVersion: number; readonly expectedVersion: number | undefined },
    caller: Caller,
  ): Promise<SecretMetadata> {
    const body = { to_version: toVersion, ...expecting(expectedVersion) }
    return await this.#client.ask(SecretMetadata, { method: 'POST', path: `${pathOf(place)}/rollback`, body, caller })
  }

  async delete(place: SecretPlace, caller: Caller, expectedVersion?: number | undefined): Promise<void> {
    await this.#client.tell({ method: 'DELETE', path: pathOf(place), body: expecting(expectedVersion), caller })
  }
}

function expecting(expectedVersion: number | undefined) {
  return expectedVersion === undefined ? {} : { expected_version: expectedVersion }
}

function pathOf({ organizationId, resourceId }: SecretPlace): string {
  return `/v1/secrets/${organizationId}/${resourceId}/rdp-primary`
}
