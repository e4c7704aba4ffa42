import type { LimitName, NumberLimit, PolicyDecision } from '@rap/session-policy'
import { kindsText } from '../desktop/files/local-refusal.ts'
import { amountText } from './policy-form.ts'

/** A limit of a policy in words. */
export function limitText(name: LimitName, { limits }: PolicyDecision): string {
  if (name !== 'upload_extensions') return amountText(name as NumberLimit, limits[name as NumberLimit].value)
  const kinds = limits.upload_extensions.value
  return kinds === null ? 'all' : kindsText(kinds)
}
