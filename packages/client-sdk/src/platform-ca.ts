import { type Static, Type } from '@sinclair/typebox'
import type { ClientContext } from './context.ts'
import { buildPath } from './http.ts'
import { nullable } from './model.ts'
import { checked } from './shape.ts'

const Name = Type.String({ maxLength: 512 })
const Time = Type.String({ maxLength: 64 })
const Count = Type.Integer({ minimum: 0 })
const authority = { subject: Name, sha256: Name, not_after: Time }

/** One root with its intermediate. */
export const CaGeneration = Type.Object({
  generation: Count,
  /** `staged` is published and issues nothing, `active` issues, `superseded` is still published, `retired` no more. */
  state: Type.Union((['staged', 'active', 'superseded', 'retired'] as const).map(state => Type.Literal(state))),
  root: Type.Object({
    ...authority,
    /** Where the root's private key is: wrapped in the database, kept elsewhere, or gone. */
    key: Type.Union((['wrapped', 'elsewhere', 'none'] as const).map(place => Type.Literal(place))),
  }),
  intermediate: Type.Object(authority),
  /** Certificates that it has issued and that are valid now. */
  certificates_in_force: Count,
  created_at: Time,
  activated_at: nullable(Time),
  retired_at: nullable(Time),
})
export type CaGeneration = Static<typeof CaGeneration>

/** A published set of roots. */
export const PublishedBundle = Type.Object({
  version: Count,
  ref: Name,
  sha256: Name,
  /** SHA-256 of each root, hexadecimal. */
  roots: Type.Array(Name, { maxItems: 16 }),
  created_at: Time,
})
export type PublishedBundle = Static<typeof PublishedBundle>

const PlatformCaStatus = Type.Object({
  /** False where certificates come from elsewhere; then the rest is empty. */
  managed: Type.Boolean(),
  bundle_ref: Name,
  generations: Type.Array(CaGeneration, { maxItems: 1000 }),
  bundles: Type.Array(PublishedBundle, { maxItems: 1000 }),
})
export type PlatformCaStatus = Static<typeof PlatformCaStatus>

export interface StepOptions {
  /** Takes the step also where clients, or owners of certificates, are not ready for it. */
  readonly force?: boolean
}

/** Keys may be in a device or a service far away. */
const KEY_CALL_MS = 35_000

/**
 * `/v1/platform-ca`: the authority of workers and services, and its rotation. For owners of the platform. No key material is in any
 * call, and none is sent twice by itself: after a lost answer `status` tells what was done.
 *
 * Each step throws RapError: ERR_PLATFORM_CA_UNMANAGED, ERR_PLATFORM_CA_STEP where the rotation is not at it.
 */
export class PlatformCa {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  async status(): Promise<PlatformCaStatus> {
    const { body } = await this.#context.account.call({ method: 'GET', path: '/v1/platform-ca' })
    return checked(PlatformCaStatus, body, 'the state of the platform CA')
  }

  /** Makes the next generation and publishes its root. Throws ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE: then `rap-pki` does it. */
  stage(): Promise<PlatformCaStatus> {
    return this.#step('stage', {})
  }

  /** Issues by the staged generation. Throws ERR_PLATFORM_CA_OVERLAP until clients have had time for its bundle. */
  activate(options: StepOptions = {}): Promise<PlatformCaStatus> {
    return this.#step('activate', options)
  }

  /** Goes one step back: takes a staged generation away, or issues by the older one again. */
  rollback(options: StepOptions = {}): Promise<PlatformCaStatus> {
    return this.#step('rollback', options)
  }

  /** Publishes a bundle without the older root. Throws ERR_PLATFORM_CA_IN_USE while certificates of it are valid. */
  retire(options: StepOptions = {}): Promise<PlatformCaStatus> {
    return this.#step('retire', options)
  }

  /** Replaces the intermediate that issues. */
  renewIntermediate(): Promise<PlatformCaStatus> {
    return this.#step('renew-intermediate', {})
  }

  async #step(name: string, { force }: StepOptions): Promise<PlatformCaStatus> {
    const { account, timeouts } = this.#context
    const { body } = await account.call({
      method: 'POST',
      path: buildPath('/v1/platform-ca', [name]),
      body: force === undefined ? {} : { force },
      timeoutMs: Math.max(timeouts.requestMs, KEY_CALL_MS),
    })
    return checked(PlatformCaStatus, body, 'the state of the platform CA')
  }
}
