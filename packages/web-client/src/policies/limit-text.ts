import type { LimitName, NumberLimit, PolicyDecision, SessionLimits } from '@rap/session-policy'
import { kindsText } from '../desktop/files/local-refusal.ts'
import { amountText } from './policy-form.ts'

/** The value of a limit in words. */
export function valueText(name: LimitName, value: SessionLimits[LimitName]): string {
  if (name !== 'upload_extensions') return amountText(name as NumberLimit, value as number | null)
  return value === null ? 'all' : kindsText(value as string[])
}

/** A limit of a policy in words. */
export function limitText(name: LimitName, { limits }: PolicyDecision): string {
  return valueText(name, limits[name].value)
}
