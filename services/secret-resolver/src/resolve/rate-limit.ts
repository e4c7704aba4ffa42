import { commonProblems, type PeerIdentity, type Redis } from '@rap/service-kit'
import { type Lease, leaseKey, MAX_LEASE_BYTES, parseLease } from './lease.ts'

export interface Limits {
  readonly perWorkerPerMinute: number
  readonly perSessionPerMinute: number
}

const WINDOW_MS = 60_000

/**
 * Counts, in one step. Every counter has an end within the window, and what is no counter becomes one: whatever somebody
 * has written there, no worker is refused for good.
 */
const COUNT = `
local function count(key, window)
  local counted = redis.pcall('INCR', key)
  if type(counted) ~= 'number' then
    redis.call('DEL', key)
    counted = redis.call('INCR', key)
  end
  local left = redis.call('PTTL', key)
  if left < 0 or left > window then
    redis.call('PEXPIRE', key, window)
    left = window
  end
  return counted, left
end
`
const COUNT_CALLER = `${COUNT}
return {count(KEYS[1], tonumber(ARGV[1]))}
`
/** The lease is read only where the limit holds; an entry that is no text is as good as none. */
const COUNT_SESSION = `${COUNT}
local counted, left = count(KEYS[1], tonumber(ARGV[1]))
if counted > tonumber(ARGV[2]) then return {counted, left, ''} end
local lease = redis.pcall('GETRANGE', KEYS[2], 0, tonumber(ARGV[3]) - 1)
if type(lease) ~= 'string' then lease = '' end
return {counted, left, lease}
`

/** The scripts as commands of the client, which sends their text once and their digest from then on. */
interface Scripts {
  rapCountCaller(key: string, windowMs: number): Promise<[number, number]>
  rapCountSession(
    counter: string,
    lease: string,
    windowMs: number,
    limit: number,
    maxBytes: number,
  ): Promise<[number, number, string]>
}

/**
 * Fixed windows in Redis that all instances share. Redis emptied starts them anew: the limits slow guessing and floods
 * down, they decide nothing. Both throw ProblemError ERR_RATE_LIMITED, and ERR_UPSTREAM_UNAVAILABLE where Redis does not answer:
 * without an answer there is no lease.
 */
export interface Admission {
  /** Counts one request of the holder of a certificate; those whose certificate names nobody share one counter. */
  countCaller(caller: Pick<PeerIdentity, 'kind' | 'id'> | undefined): Promise<void>
  /**
   * Counts one request for a session and reads its lease, in one question. INVARIANT: `sessionId` is from a token that
   * was verified and belongs to the caller, so that nobody uses up the budget of another's session.
   */
  admitSession(sessionId: string, leaseId: string): Promise<Lease | undefined>
}

export function admission(redis: Redis, { perWorkerPerMinute, perSessionPerMinute }: Limits): Admission {
  const scripts = withScripts(redis)
  return {
    async countCaller(caller) {
      const [kind, id] = caller === undefined ? ['caller', 'unidentified'] : [caller.kind, caller.id]
      const [count, leftMs] = await askRedis(scripts.rapCountCaller(counterKey(kind, id), WINDOW_MS))
      if (count > perWorkerPerMinute) throw limited(kind, { count, leftMs })
    },
    async admitSession(sessionId, leaseId) {
      const limit = perSessionPerMinute
      const counter = counterKey('session', sessionId)
      const [count, leftMs, lease] = await askRedis(
        scripts.rapCountSession(counter, leaseKey(leaseId), WINDOW_MS, limit, MAX_LEASE_BYTES),
      )
      if (count > limit) throw limited('session', { count, leftMs })
      return parseLease(lease)
    },
  }
}

function withScripts(redis: Redis): Scripts {
  redis.defineCommand('rapCountCaller', { numberOfKeys: 1, lua: COUNT_CALLER })
  redis.defineCommand('rapCountSession', { numberOfKeys: 2, lua: COUNT_SESSION })
  return redis as unknown as Scripts
}

function counterKey(name: string, id: string): string {
  return `rap:secret-resolver:rate:${name}:${id}`
}

function limited(name: string, { count, leftMs }: { count: number; leftMs: number }) {
  return commonProblems.ERR_RATE_LIMITED({
    facts: { limit: name, count },
    extras: { retry_after_seconds: Math.max(1, Math.ceil(leftMs / 1000)) },
    audit: {
      // Not the organization of the URL, which anybody may write.
      organization_id: null,
      resource_id: undefined,
      event: 'resource_secret_access_denied',
      outcome: 'refused',
      code: 'ERR_RATE_LIMITED',
      details: { reason: 'rate_limited', limit: name },
    },
  })
}

/** Throws ProblemError ERR_UPSTREAM_UNAVAILABLE where Redis does not answer. */
async function askRedis<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ cause, facts: { component: 'redis' } })
  }
}
