import { CHANNELS, type Channel } from './channels.ts'
import { LIMIT_NAMES, type LimitName, narrower, type SessionLimits } from './limits.ts'
import { DEFAULT_POLICY, type EffectivePolicy, type PolicyDocument, type PolicyScope } from './policy.ts'

/** Who made a decision: a scope, or nobody, so that the default holds. */
export type DecidedBy = PolicyScope | 'default'

/** The policies that bear on one session; a scope without one is absent. */
export type PolicyLayers = Readonly<Partial<Record<PolicyScope, PolicyDocument>>>

export interface ChannelDecision {
  readonly allowed: boolean
  readonly decided_by: DecidedBy
}

export interface LimitDecision<N extends LimitName = LimitName> {
  readonly value: SessionLimits[N]
  readonly decided_by: DecidedBy
}

/** A policy in force with the reason of every part of it. */
export interface PolicyDecision {
  readonly channels: Readonly<Record<Channel, ChannelDecision>>
  readonly limits: { readonly [N in LimitName]: LimitDecision<N> }
}

const NARROWING = ['resource', 'grant'] as const satisfies readonly PolicyScope[]

/**
 * Makes one policy of those of organization, resource and grant; the narrowest wins.
 *
 * INVARIANT: the organization takes the default's place, and resource and grant only ever narrow it.
 */
export function decidePolicy(layers: PolicyLayers): PolicyDecision {
  return {
    channels: Object.fromEntries(
      CHANNELS.map(channel => [channel, decideChannel(layers, channel)]),
    ) as PolicyDecision['channels'],
    limits: Object.fromEntries(LIMIT_NAMES.map(name => [name, decideLimit(layers, name)])) as PolicyDecision['limits'],
  }
}

/** The decision without its reasons. */
export function effectivePolicy({ channels, limits }: PolicyDecision): EffectivePolicy {
  return {
    channels: CHANNELS.filter(channel => channels[channel].allowed),
    limits: Object.fromEntries(LIMIT_NAMES.map(name => [name, limits[name].value])) as SessionLimits,
  }
}

function decideChannel(layers: PolicyLayers, channel: Channel): ChannelDecision {
  const own = layers.organization?.channels
  const first: ChannelDecision = {
    allowed: (own ?? DEFAULT_POLICY.channels).includes(channel),
    decided_by: own === undefined ? 'default' : 'organization',
  }
  if (!first.allowed) return first
  const denying = NARROWING.find(scope => layers[scope]?.channels?.includes(channel) === false)
  return denying === undefined ? first : { allowed: false, decided_by: denying }
}

function decideLimit<N extends LimitName>(layers: PolicyLayers, name: N): LimitDecision<N> {
  const own = layers.organization?.limits?.[name] as SessionLimits[N] | undefined
  let decision: LimitDecision<N> = {
    value: own === undefined ? DEFAULT_POLICY.limits[name] : own,
    decided_by: own === undefined ? 'default' : 'organization',
  }
  for (const scope of NARROWING) {
    const asked = layers[scope]?.limits?.[name] as SessionLimits[N] | undefined
    if (asked === undefined) continue
    const value = narrower(name, decision.value, asked)
    if (!isSame(value, decision.value)) decision = { value, decided_by: scope }
  }
  return decision
}

function isSame(left: unknown, right: unknown): boolean {
  if (!Array.isArray(left) || !Array.isArray(right)) return left === right
  return left.length === right.length && left.every(entry => right.includes(entry))
}
