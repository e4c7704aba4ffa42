import type { Channel, DecidedBy, LimitName, PolicyScope } from '@rap/session-policy'

/** What a channel carries, or what is left without it. */
export const CHANNEL_HINTS: Readonly<Record<Channel, string>> = {
  display: 'Off: the desktop is used without being seen.',
  input: 'Off: the desktop is seen and not used.',
  clipboard_client_to_server: 'Text that is copied here and pasted there. Files and pictures never.',
  clipboard_server_to_client: 'Text that is copied there and pasted here. Files and pictures never.',
  file_upload: 'Into RAP_Transfers, a read-only drive on the desktop. No file comes back.',
  events: 'Warnings before a limit is reached, and word of what was held back.',
}

/** What a limit is to a person, and what it does. */
export const LIMIT_WORDS: Readonly<Record<LimitName, { readonly label: string; readonly description: string }>> = {
  idle_seconds: {
    label: 'Time without activity',
    description: 'Whoever does nothing for this long is disconnected. The desktop keeps running.',
  },
  session_seconds: {
    label: 'Length of a session',
    description: 'From its start, connected or not: then it is ended. A new session may follow.',
  },
  clipboard_bytes: { label: 'Size of a copied text', description: 'Most characters take two bytes.' },
  upload_file_bytes: { label: 'Size of one file', description: '' },
  upload_session_bytes: { label: 'Size of all files of a session', description: '' },
  upload_files: { label: 'Number of files of a session', description: '' },
  upload_extensions: {
    label: 'Kinds of files',
    description: 'By extension, without the dot. A name is no proof of what is inside.',
  },
}

/** Who decided, as a label. */
export const DECIDED_BY: Readonly<Record<DecidedBy, string>> = {
  default: 'default',
  organization: 'organization',
  resource: 'this desktop',
  grant: 'this person',
}

/** What a scope leaves a decision to. */
export const ABOVE: Readonly<Record<PolicyScope, string>> = {
  organization: 'Default',
  resource: 'As the organization',
  grant: 'As for everybody',
}
