import { type Static, Type } from '@sinclair/typebox'
import { Nullable, Uuid } from '../http/schemas.ts'

const Instant = Type.String({ maxLength: 64 })
const Count = Type.Integer({ minimum: 0 })

/** Name of a master key or of a key source. */
export const KeyName = Type.String({ minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]*$' })
/** A name as the resolver tells it; a key from before there were rules for names is told as well. */
const ToldName = Type.String({ maxLength: 256 })

/** A master key as people may know it; no key material. */
export const MasterKey = Type.Object({
  key_id: ToldName,
  source: ToldName,
  state: Type.Union([Type.Literal('available'), Type.Literal('active'), Type.Literal('retired')], {
    description: 'active: wraps what is new; available: still opens what it wrapped; retired: wraps nothing any more',
  }),
  provider: Nullable(Type.String({ maxLength: 64, description: 'Where the key lives' })),
  algorithm: Nullable(Type.String({ maxLength: 64 })),
  location: Nullable(Type.String({ maxLength: 4096, description: 'Where exactly: an address, a slot, an ARN' })),
  secrets: Type.Integer({ minimum: 0, description: 'Versions of secrets that only this key opens' }),
  sealing_keys: Type.Integer({ minimum: 0, description: 'Sealing keys that only this key opens' }),
  missing_on: Type.Array(ToldName, { maxItems: 256, description: 'Running resolvers without the source' }),
  created_at: Instant,
  activated_at: Nullable(Instant),
  retired_at: Nullable(Instant),
})

/** Every key that ever was, the configured sources, and the resolvers that run. */
export const MasterKeys = Type.Object({
  items: Type.Array(MasterKey, { maxItems: 4096 }),
  sources: Type.Array(Type.Object({ name: ToldName, health: Type.String({ maxLength: 1024 }) }), { maxItems: 64 }),
  instances: Type.Array(
    Type.Object({ name: ToldName, sources: Type.Array(ToldName, { maxItems: 64 }), seen_at: Instant }),
    { maxItems: 256 },
  ),
})
export type MasterKeys = Static<typeof MasterKeys>

export const Rotated = Type.Object({ previous_key_id: Nullable(ToldName), active_key_id: ToldName })
export type Rotated = Static<typeof Rotated>

export const Retired = Type.Object({ key_id: ToldName })
export type Retired = Static<typeof Retired>

/** What a re-wrap would do now. */
export const RewrapPlan = Type.Object({
  to_key_id: ToldName,
  from: Type.Array(Type.Object({ key_id: ToldName, rows: Count }), { maxItems: 4096 }),
  total: Count,
})
export type RewrapPlan = Static<typeof RewrapPlan>

/** A re-wrap and how far it is. */
export const Rewrap = Type.Object({
  id: Uuid,
  to_key_id: ToldName,
  total: Count,
  remaining: Count,
  failed: Type.Integer({ minimum: 0, description: 'Rows that do not open; they stay as they are' }),
  state: Type.Union([Type.Literal('running'), Type.Literal('finished')]),
  rate_per_second: Type.Number({ minimum: 0, description: 'Rows a second, all resolvers together' }),
  seconds_left: Nullable(Type.Integer({ minimum: 0, description: 'Null until a rate is known' })),
  created_at: Instant,
  finished_at: Nullable(Instant),
})
export type Rewrap = Static<typeof Rewrap>

/** The last ones, the newest first. */
export const Rewraps = Type.Object({ items: Type.Array(Rewrap, { maxItems: 20 }) })
export type Rewraps = Static<typeof Rewraps>
