import { explain } from '../auth/auth.tsx'
import type { ChangeFailure } from '../shell/change-dialog.tsx'

/** A failure of a change to a policy in words. */
export function explainPolicy(error: unknown): ChangeFailure {
  const explanation = explain(error)
  const isOutOfDate = explanation.code === 'ERR_POLICY_CHANGED'
  return isOutOfDate
    ? {
        ...explanation,
        title: 'Somebody else changed this policy meanwhile',
        detail: 'Nothing was saved: it is not as this page shows it any more.',
        remedy: 'Reload it, and make your change again.',
        isOutOfDate,
      }
    : { ...explanation, isOutOfDate }
}

/** What a saved change did to sessions that are open. */
export function reachedText(sessions: number): string {
  if (sessions === 0) return 'No open session was affected.'
  return sessions === 1 ? 'One open session was changed.' : `${sessions.toLocaleString()} open sessions were changed.`
}
