import { type Static, Type } from '@sinclair/typebox'
import type { ClientContext } from './context.ts'
import { buildPath } from './http.ts'
import { nullable } from './model.ts'
import { checked } from './shape.ts'

const Name = Type.String({ maxLength: 256 })
const Time = Type.String({ maxLength: 64 })
const Count = Type.Integer({ minimum: 0 })

/** A key that wraps secrets; none of it is key material. */
export const MasterKey = Type.Object({
  key_id: Name,
  /** The configured key source that has it. */
  source: Name,
  /** `active` wraps what is new, `available` still opens what it wrapped, `retired` wraps nothing any more. */
  state: Type.Union([Type.Literal('available'), Type.Literal('active'), Type.Literal('retired')]),
  /** Where it lives, such as `file` or `vault`; null where the resolver that answered does not have its source. */
  provider: nullable(Name),
  algorithm: nullable(Name),
  /** Where exactly: an address, a slot, an ARN. */
  location: nullable(Type.String({ maxLength: 4096 })),
  /** Versions of secrets, and sealing keys, that only this key opens. */
  secrets: Count,
  sealing_keys: Count,
  /** Running resolvers that do not have its source. */
  missing_on: Type.Array(Name, { maxItems: 256 }),
  created_at: Time,
  activated_at: nullable(Time),
  retired_at: nullable(Time),
})
export type MasterKey = Static<typeof MasterKey>

/** A place of keys that is configured; `health` is `ok` or a few words about what is wrong. */
export const KeySource = Type.Object({ name: Name, health: Type.String({ maxLength: 1024 }) })
export type KeySource = Static<typeof KeySource>

/** A secret-resolver that runs, and the sources whose keys it has. */
export const ResolverInstance = Type.Object({ name: Name, sources: Type.Array(Name, { maxItems: 64 }), seen_at: Time })
export type ResolverInstance = Static<typeof ResolverInstance>

const MasterKeyList = Type.Object({
  items: Type.Array(MasterKey, { maxItems: 4096 }),
  sources: Type.Array(KeySource, { maxItems: 64 }),
  instances: Type.Array(ResolverInstance, { maxItems: 256 }),
})
export type MasterKeyList = Static<typeof MasterKeyList>

const KeyRotation = Type.Object({ previous_key_id: nullable(Name), active_key_id: Name })
export type KeyRotation = Static<typeof KeyRotation>

const RetiredKey = Type.Object({ key_id: Name })

/** What a re-wrap would do: rows by the key that they are wrapped with now. */
const RewrapPlan = Type.Object({
  to_key_id: Name,
  from: Type.Array(Type.Object({ key_id: Name, rows: Count }), { maxItems: 4096 }),
  total: Count,
})
export type RewrapPlan = Static<typeof RewrapPlan>

/** A re-wrap and how far it is. */
const Rewrap = Type.Object({
  id: Name,
  to_key_id: Name,
  total: Count,
  remaining: Count,
  /** Rows that do not open; they stay as they are. */
  failed: Count,
  state: Type.Union([Type.Literal('running'), Type.Literal('finished')]),
  /** Rows a second, all resolvers together. */
  rate_per_second: Type.Number({ minimum: 0 }),
  /** Null until a rate is known. */
  seconds_left: nullable(Count),
  created_at: Time,
  finished_at: nullable(Time),
})
export type Rewrap = Static<typeof Rewrap>

const RewrapList = Type.Object({ items: Type.Array(Rewrap, { maxItems: 100 }) })

/** The server gives the place of a key 30 s, which may be a device or a service far away. */
const KEY_CALL_MS = 35_000

/**
 * `/v1/master-keys`: the keys that wrap every secret. For owners of the platform; everybody else gets ERR_FORBIDDEN.
 *
 * Nothing here is sent twice by itself. After a lost answer `list` tells what was done.
 */
export class MasterKeys {
  readonly #context: ClientContext
  readonly #timeoutMs: number

  constructor(context: ClientContext) {
    this.#context = context
    this.#timeoutMs = Math.max(context.timeouts.requestMs, KEY_CALL_MS)
  }

  /** Every key that ever was, the configured sources with their health, and the resolvers that run. */
  async list(): Promise<MasterKeyList> {
    const timeoutMs = this.#timeoutMs
    const { body } = await this.#context.account.call({ method: 'GET', path: '/v1/master-keys', timeoutMs })
    return checked(MasterKeyList, body, 'a list of master keys')
  }

  /**
   * Makes the newest key of a source the one that wraps what is new; a source that makes keys and whose key is active
   * already makes another one. What older keys have wrapped stays readable.
   *
   * Throws RapError: ERR_MASTER_KEY_SOURCE_UNKNOWN, ERR_MASTER_KEY_NOT_EVERYWHERE while a running resolver has not got the
   * source, ERR_MASTER_KEY_ALREADY_ACTIVE, ERR_MASTER_KEY_RETIRED, ERR_MASTER_KEY_PROVIDER.
   */
  async rotate(source: string): Promise<KeyRotation> {
    const { body } = await this.#context.account.call({
      method: 'POST',
      path: '/v1/master-keys/rotate',
      body: { source },
      timeoutMs: this.#timeoutMs,
    })
    return checked(KeyRotation, body, 'a rotation')
  }

  /**
   * Retires a key for good, after which its material may be destroyed. A key that is retired stays so, without an error.
   * Throws RapError: ERR_MASTER_KEY_ACTIVE, ERR_MASTER_KEY_IN_USE while rows need it, ERR_MASTER_KEY_UNKNOWN.
   */
  async retire(keyId: string): Promise<void> {
    const { body } = await this.#context.account.call({
      method: 'POST',
      path: buildPath('/v1/master-keys', [keyId, 'retire']),
      body: {},
      timeoutMs: this.#timeoutMs,
    })
    checked(RetiredKey, body, 'a retired key')
  }
}

/**
 * `/v1/rewraps`: wrapping with the active key what other keys have wrapped, while everything goes on. For owners of the platform.
 */
export class Rewraps {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  /** What `start` would do now. */
  async plan(): Promise<RewrapPlan> {
    const { body } = await this.#context.account.call({ method: 'GET', path: '/v1/rewraps/plan' })
    return checked(RewrapPlan, body, 'a plan of a re-wrap')
  }

  /** The last ones, the newest first. */
  async list(): Promise<Rewrap[]> {
    const { body } = await this.#context.account.call({ method: 'GET', path: '/v1/rewraps' })
    return checked(RewrapList, body, 'a list of re-wraps').items
  }

  async get(id: string): Promise<Rewrap> {
    const { body } = await this.#context.account.call({ method: 'GET', path: buildPath('/v1/rewraps', [id]) })
    return checked(Rewrap, body, 'a re-wrap')
  }

  /** Orders a re-wrap; the resolvers do it, and `get` tells how far they are. Throws RapError ERR_REWRAP_RUNNING. */
  async start(): Promise<Rewrap> {
    const { body } = await this.#context.account.call({
      method: 'POST',
      path: '/v1/rewraps',
      body: {},
      timeoutMs: Math.max(this.#context.timeouts.requestMs, KEY_CALL_MS),
    })
    return checked(Rewrap, body, 'a re-wrap')
  }
}
