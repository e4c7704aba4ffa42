import { commonProblems, type Redis } from '@rap/service-kit'
import { askRedis } from './lease.ts'

/** Counts one use for `id`; throws ProblemError ERR_RATE_LIMITED where the window's limit is passed, or what `askRedis` throws. */
export type RateLimit = (id: string) => Promise<void>

export interface RateLimitOptions {
  /** What is counted, a part of the key: `worker` or `session`. */
  readonly name: string
  readonly limit: number
  readonly windowSeconds: number
}

/**
 * Counts, in one step. Every counter has an end, and what is no counter becomes one: whatever somebody has written there,
 * no worker is refused for good.
 */
const COUNT = `
local count = redis.pcall('INCR', KEYS[1])
if type(count) ~= 'number' then
  redis.call('DEL', KEYS[1])
  count = redis.call('INCR', KEYS[1])
end
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
`

/**
 * A fixed window in Redis that all instances share. Redis emptied starts it anew: the limit slows guessing and floods
 * down, it decides nothing. The first refusal of a window is audited, the rest only logged, so that a flood cannot
 * fill the audit.
 */
export function rateLimit(redis: Redis, { name, limit, windowSeconds }: RateLimitOptions): RateLimit {
  return async id => {
    const key = `rap:secret-resolver:rate:${name}:${id}`
    const [count, remainingMs] = (await askRedis(redis.eval(COUNT, 1, key, windowSeconds * 1000))) as [number, number]
    if (count <= limit) return
    throw commonProblems.ERR_RATE_LIMITED({
      facts: { limit: name, count },
      extras: { retry_after_seconds: Math.max(1, Math.ceil(remainingMs / 1000)) },
      ...(count === limit + 1 && {
        audit: {
          event: 'resource_secret_access_denied',
          outcome: 'refused',
          code: 'ERR_RATE_LIMITED',
          details: { reason: 'rate_limited', limit: name },
        },
      }),
    })
  }
}
