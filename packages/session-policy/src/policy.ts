import { type Static, Type } from '@sinclair/typebox'
import { CHANNELS, type Channel } from './channels.ts'
import { DEFAULT_LIMITS, PolicyLimits, type SessionLimits } from './limits.ts'

const ChannelName = Type.Union(CHANNELS.map(channel => Type.Literal(channel)))

/** Channels without repetition. */
export const Channels = Type.Array(ChannelName, { maxItems: CHANNELS.length, uniqueItems: true })

/** A policy as an administrator writes it; what it does not name it leaves to the scope above. */
export const PolicyDocument = Type.Object(
  { channels: Type.Optional(Channels), limits: Type.Optional(PolicyLimits) },
  { additionalProperties: false },
)
export type PolicyDocument = Static<typeof PolicyDocument>

/** Where a policy is written, from the widest to the narrowest. */
export const POLICY_SCOPES = ['organization', 'resource', 'grant'] as const
export type PolicyScope = (typeof POLICY_SCOPES)[number]

/** A policy in force: what one session may do. */
export interface EffectivePolicy {
  readonly channels: readonly Channel[]
  readonly limits: SessionLimits
}

/** Closed by default: nothing that carries data in or out of the desktop beside picture and keys. */
export const DEFAULT_POLICY: EffectivePolicy = { channels: ['display', 'input', 'events'], limits: DEFAULT_LIMITS }
