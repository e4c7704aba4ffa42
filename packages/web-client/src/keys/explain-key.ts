import { type MasterKey, RapError } from '@rap/client-sdk'
import { explain } from '../auth/auth.tsx'
import type { ChangeFailure } from '../shell/change-dialog.tsx'

/** What a place of keys says, in words; the code is shown beside them. */
const REASONS: Readonly<Record<string, string>> = {
  ERR_KEY_UNAVAILABLE: 'It does not answer now.',
  ERR_KEY_FORBIDDEN: 'It does not let the resolver use the key.',
  ERR_KEY_NOT_FOUND: 'It has no such key.',
}

/** Refusals of a retirement that the page would not have let come this far. */
const OUT_OF_DATE = new Set(['ERR_MASTER_KEY_IN_USE', 'ERR_MASTER_KEY_ACTIVE', 'ERR_MASTER_KEY_UNKNOWN'])

/** A failure of a change of master keys in words. */
export function explainKey(error: unknown): ChangeFailure {
  const explanation = { ...explain(error), isOutOfDate: false }
  if (!(error instanceof RapError)) return explanation
  const more = [
    error.reason === undefined ? '' : (REASONS[error.reason] ?? `It says ${error.reason}.`),
    error.missingOn === undefined ? '' : `Without it: ${error.missingOn.join(', ')}.`,
  ]
  const isOutOfDate = OUT_OF_DATE.has(error.code)
  return { ...explanation, isOutOfDate, detail: [explanation.detail, ...more].filter(text => text !== '').join(' ') }
}

/** Why a key cannot be retired now; undefined where it can. */
export function whyNotRetired({ state, secrets, sealing_keys: sealingKeys }: MasterKey): string | undefined {
  if (state === 'active') return 'It is active: rotate to another key first.'
  return secrets + sealingKeys === 0 ? undefined : 'It is still needed: re-wrap first.'
}
