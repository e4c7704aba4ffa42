export { CHANNELS, type Channel, isRdpChannel, isSideChannel, RDP_CHANNELS, SIDE_CHANNELS } from './channels.ts'
export {
  type ChannelDecision,
  type DecidedBy,
  decidePolicy,
  effectivePolicy,
  type LimitDecision,
  type PolicyDecision,
  type PolicyLayers,
} from './decide.ts'
export { CHANNEL_WORDS, explainChannel } from './explain.ts'
export {
  DEFAULT_LIMITS,
  LIMIT_NAMES,
  LIMITS,
  type LimitName,
  NUMBER_LIMITS,
  type NumberLimit,
  narrower,
  PolicyLimits,
  SessionLimits,
} from './limits.ts'
export {
  Channels,
  DEFAULT_POLICY,
  type EffectivePolicy,
  POLICY_SCOPES,
  PolicyDocument,
  type PolicyScope,
} from './policy.ts'
