import { RapError } from '@rap/client-sdk'
import { explain } from '../auth/auth.tsx'
import type { ChangeFailure } from '../shell/change-dialog.tsx'

/** Refusals after which the history on the page is not the one on the server. */
const OUT_OF_DATE = new Set(['ERR_SECRET_VERSION_CONFLICT', 'ERR_SECRET_VERSION_NOT_FOUND'])

/** A failure of a change of a secret in words. */
export function explainSecret(error: unknown): ChangeFailure {
  const explanation = explain(error)
  const isOutOfDate = OUT_OF_DATE.has(explanation.code)
  if (explanation.code !== 'ERR_SECRET_VERSION_CONFLICT') return { ...explanation, isOutOfDate }
  return {
    ...explanation,
    title: 'Somebody else changed it meanwhile',
    detail: `Nothing was written: ${inForce(error)}`,
    remedy: 'Reload, and look at the history before you try again.',
    isOutOfDate,
  }
}

function inForce(error: unknown): string {
  const version = error instanceof RapError ? error.currentVersion : undefined
  if (version === undefined) return 'another version than the one on this page is in force now.'
  return version === 0 ? 'the credential was deleted.' : `version ${version} is in force now.`
}
