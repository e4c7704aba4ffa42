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
