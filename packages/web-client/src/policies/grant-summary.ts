import { CHANNEL_WORDS, CHANNELS, LIMIT_NAMES, type LimitName, type PolicyDocument } from '@rap/session-policy'
import { valueText } from './limit-text.ts'
import { LIMIT_WORDS } from './words.ts'

/** What a grant says, in a line. */
export function grantSummary({ channels, limits = {} }: PolicyDocument): string {
  const off = channels === undefined ? [] : CHANNELS.filter(channel => !channels.includes(channel))
  const limited = LIMIT_NAMES.filter(name => limits[name] !== undefined)
  const parts = [
    ...off.map(channel => `${CHANNEL_WORDS[channel]}: off`),
    ...limited.map((name: LimitName) => `${LIMIT_WORDS[name].label}: ${valueText(name, limits[name] ?? null)}`),
  ]
  return parts.length === 0 ? 'As everybody.' : parts.join(' · ')
}
