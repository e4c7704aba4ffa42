import { auditSystem } from '../audit/write.ts'
import type { Context } from '../context.ts'

/** Pause after a rotation or a new key failed, in milliseconds: a vault that is away is not asked with every sweep. */
const RETRY_MS = 60_000
const notBefore = new WeakMap<object, number>()

/**
 * What time does to signing keys: ended ones retire, missing ones are made, and an active one that has signed for
 * DATA_PLANE_SIGNING_KEY_ROTATION_HOURS gives way. A rotation that is overdue since nobody ran is made up for, once.
 */
export async function keepSigningKeys(ctx: Pick<Context, 'signing' | 'config' | 'logger'>): Promise<void> {
  const { signing, config, logger } = ctx
  await signing.retire()
  if (performance.now() < (notBefore.get(signing) ?? 0)) return
  try {
    await signing.fill()
    const rotated = await signing.rotateIfDue(config.DATA_PLANE_SIGNING_KEY_ROTATION_HOURS, auditSystem)
    if (rotated !== undefined)
      logger.info({ event: 'signing_keys_rotated', kid: rotated.active_kid }, 'signing keys rotated')
  } catch (error) {
    notBefore.set(signing, performance.now() + RETRY_MS)
    logger.error({ event: 'signing_keys_not_rotated', err: error }, 'signing keys not made or rotated')
  }
}
