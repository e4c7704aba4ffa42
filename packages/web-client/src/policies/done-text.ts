import { CHANNEL_WORDS, CHANNELS, decidePolicy, type PolicyLayers } from '@rap/session-policy'

/** What a saved change does to sessions that are open. */
export function doneText(sessions: number, { before, after }: { before: PolicyLayers; after: PolicyLayers }): string {
  const [was, is] = [decidePolicy(before).channels, decidePolicy(after).channels]
  const opened = CHANNELS.filter(channel => is[channel].allowed && !was[channel].allowed)
  if (opened.length === 0) return reachedText(sessions)
  const names = opened.map(channel => CHANNEL_WORDS[channel]).join(', ')
  return `${reachedText(sessions)} On from the next connection: ${names}.`
}

function reachedText(sessions: number): string {
  if (sessions === 0) return 'No open session was affected.'
  return sessions === 1 ? 'One open session was changed.' : `${sessions.toLocaleString()} open sessions were changed.`
}
