import type { WithheldCode } from '@rap/rdp'

/** What a person is told of something that was held back; what only an attacker would cause is left to the audit. */
export const WITHHELD_WORDS: Readonly<Partial<Record<WithheldCode, string>>> = {
  ERR_CLIPBOARD_FORMAT: 'What was copied has no text; only text goes through the clipboard.',
  ERR_CLIPBOARD_TOO_LARGE: 'The copied text is longer than the policy allows, and was not taken over.',
  ERR_DRIVE_READ_ONLY: 'RAP_Transfers can only be read on the desktop.',
}
