import type { TransactionSql } from '@rap/service-kit'
import { decidePolicy, type EffectivePolicy, effectivePolicy, isRdpChannel } from '@rap/session-policy'
import { problems } from '../errors.ts'
import { lockPolicies, readLayers } from '../policies/storage.ts'

/** Whose session it is, and on what. */
export interface PolicySubject {
  readonly organizationId: string
  readonly resourceId: string
  readonly userId: string
}

/**
 * The policy that a new attachment begins under; it cannot change before the transaction ends, and what changes afterwards finds the attachment.
 * Throws ProblemError ERR_SESSION_POLICY_DENIED where it leaves nothing of the desktop: what is beside the RDP stream makes no session.
 */
export async function policyInForce(tx: TransactionSql, subject: PolicySubject): Promise<EffectivePolicy> {
  await lockPolicies(tx, subject.organizationId, 'shared')
  const policy = effectivePolicy(decidePolicy(await readLayers(tx, subject)))
  if (!policy.channels.some(isRdpChannel)) {
    throw problems.ERR_SESSION_POLICY_DENIED({
      detail: 'Picture, keyboard and mouse, and the clipboard are all off for you on this desktop.',
      extras: { remedy: 'Ask your administrator what you may do there.' },
    })
  }
  return policy
}
