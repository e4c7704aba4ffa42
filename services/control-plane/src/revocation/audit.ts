import type { RefusalHook } from '@rap/service-kit'
import type { Context } from '../context.ts'

/** For `onRefusal` of the internal listener: refusals that bring their own event, which are those of revoked peers. */
export function auditRevokedPeers({ refusals }: Pick<Context, 'refusals'>): RefusalHook {
  return async ({ audit }, request) => {
    const unnamed = { organization_id: null, event: 'revoked_peer_refused', outcome: 'refused' } as const
    const actor = { kind: 'system', id: 'unidentified' } as const
    await refusals.report({ ...unnamed, actor, request_id: request.id, ...audit }, 'holder')
  }
}
