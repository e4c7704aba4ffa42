import type { Trace } from '@rap/client-sdk'
import type { Explanation } from '../auth/auth.tsx'

/** How a desktop ended, in words; `canResume` where the session still lives on the target. */
export interface Ending extends Omit<Explanation, 'code'> {
  readonly code: string
  readonly failed: boolean
  readonly canResume: boolean
  readonly sessionId?: string | undefined
  /** What the session was on, to begin a new one. */
  readonly resourceId?: string | undefined
  /** How a way was looked for; undefined where it did not come to that. */
  readonly trace?: Trace | undefined
}
