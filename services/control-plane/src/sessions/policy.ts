import type { Channel } from '@rap/token-claims'

/** The channels that every session has so far; organizations, resources and grants narrow them once there are policies. */
const CHANNELS_IN_FORCE: readonly Channel[] = ['display', 'input']

/** The channels that a new attachment may be bound with. */
export function allowedChannels(): readonly Channel[] {
  return CHANNELS_IN_FORCE
}
