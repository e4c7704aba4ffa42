import { eventOfStranger } from '../audit/write.ts'
import type { Context } from '../context.ts'
import type { Origin } from './caller.ts'
import { findLogIn } from './storage.ts'

export interface RefusedToken {
  readonly kind: 'access' | 'refresh'
  /** Undefined where the text is no token of this kind. */
  readonly tokenHash: Buffer | undefined
  readonly origin: Origin
}

/**
 * Brings a token of a log-in that was refused into the audit: one that nobody has issued, and one whose log-in was ended.
 * One whose time is over is no event: every client shows one now and then.
 */
export async function auditRefusedToken(
  ctx: Pick<Context, 'sql' | 'refusals'>,
  { kind, tokenHash, origin }: RefusedToken,
): Promise<void> {
  const logIn = tokenHash === undefined ? undefined : await findLogIn(ctx.sql, kind, tokenHash)
  if (logIn?.revoked_reason === null) return
  const event = eventOfStranger(origin, {
    organization_id: logIn?.organization_id ?? null,
    event: `${kind}_token_refused`,
    user_id: logIn?.user_id,
    outcome: 'refused',
    code: kind === 'access' ? 'ERR_UNAUTHENTICATED' : 'ERR_AUTH_REFRESH_INVALID',
    details: { reason: logIn?.revoked_reason ?? (tokenHash === undefined ? 'malformed' : 'unknown') },
  })
  await ctx.refusals.report(event, logIn === undefined ? 'stranger' : 'claimant')
}
