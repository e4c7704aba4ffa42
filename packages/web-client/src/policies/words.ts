import type { DecidedBy, LimitName, PolicyScope } from '@rap/session-policy'

/** What a limit is to a person, and what it does. */
export const LIMIT_WORDS: Readonly<Record<LimitName, { readonly label: string; readonly description: string }>> = {
  idle_seconds: {
    label: 'Time without activity',
    description: 'The desktop is disconnected then, and keeps running.',
  },
  session_seconds: {
    label: 'Length of a session',
    description: 'From its start; the session is ended then, connected or not.',
  },
  clipboard_bytes: { label: 'One clipboard text', description: 'Two bytes make a character.' },
  upload_file_bytes: { label: 'One file', description: '' },
  upload_session_bytes: { label: 'All files of a session', description: '' },
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
