import type { Channel } from './channels.ts'
import type { ChannelDecision, DecidedBy } from './decide.ts'

/** What a channel is to a person. */
export const CHANNEL_WORDS: Readonly<Record<Channel, string>> = {
  display: 'The picture of the desktop',
  input: 'Use of keyboard and mouse',
  clipboard_client_to_server: 'The clipboard to the desktop',
  clipboard_server_to_client: 'The clipboard from the desktop',
  file_upload: 'Sending files to the desktop',
  events: 'News about the session',
}

const SCOPE_WORDS: Readonly<Record<DecidedBy, string>> = {
  default: 'nobody has turned it on for the organization',
  organization: 'set for the organization',
  resource: 'set for this resource',
  grant: 'set for you on this resource',
}

/** One sentence for a person: what is off, and where that was decided. */
export function explainChannel(channel: Channel, { allowed, decided_by }: ChannelDecision): string {
  const words = CHANNEL_WORDS[channel]
  return allowed ? `${words} is on.` : `${words} is off by policy: ${SCOPE_WORDS[decided_by]}.`
}
