import type { Logger, Sql } from '@rap/service-kit'
import { sweepJtis } from './resolve/place.ts'
import { eraseOldSealingKeys } from './sealing/store.ts'
import { destroyExpiredVersions } from './secrets/retention.ts'

/** One round a minute; every instance may run it, the statements do not mind. */
const SWEEP_INTERVAL_MS = 60_000

export interface SweeperDeps {
  readonly sql: Sql
  readonly now: () => Date
  readonly versionRetentionMs: number
  readonly logger: Logger
}

/** Forgets expired lease tokens, and erases sealing keys and versions of secrets whose time of grace is over. */
export async function sweep({ sql, now, versionRetentionMs, logger }: SweeperDeps): Promise<void> {
  try {
    const forgotten = await sweepJtis(sql)
    const erased = await eraseOldSealingKeys({ sql, now })
    const destroyed = await destroyExpiredVersions({ sql, now, versionRetentionMs })
    if (forgotten + erased + destroyed > 0) {
      logger.debug(
        { event: 'swept', counts: { jti_count: forgotten, key_count: erased, version_count: destroyed } },
        'swept',
      )
    }
  } catch (err) {
    // What was not swept now is swept a minute later.
    logger.warn({ event: 'sweep_failed', err }, 'sweep failed')
  }
}

/** Sweeps now and every minute; `stop` waits for a round that is under way. */
export function startSweeper(deps: SweeperDeps): { stop: () => Promise<void> } {
  let running = sweep(deps)
  const timer = setInterval(() => {
    running = running.then(() => sweep(deps))
  }, SWEEP_INTERVAL_MS)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await running
    },
  }
}
