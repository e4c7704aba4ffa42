import { createHash } from 'node:crypto'
import { commonProblems, type Redis } from '@rap/service-kit'
import { addressKey } from './client-address.ts'

/** Attempts are counted in windows of 15 minutes. */
export const WINDOW_SECONDS = 15 * 60

/**
 * Attempts in one window. The pair is the tight one; the account's own bound is wide, so that a stranger cannot lock a
 * person out from afar with a few requests; the address's bound stops one machine that tries many accounts.
 */
export const LIMITS = { pair: 10, account: 100, address: 60 } as const

/**
 * One count up. Every counter has an expiry, and what is no counter becomes one: whatever somebody has written there, an
 * account is not locked for good.
 */
const COUNT = `
local counts = {}
for index, key in ipairs(KEYS) do
  local count = redis.pcall('INCR', key)
  if type(count) ~= 'number' then
    redis.call('DEL', key)
    count = redis.call('INCR', key)
  end
  if redis.call('TTL', key) < 0 then redis.call('EXPIRE', key, ARGV[1]) end
  counts[index] = count
end
return counts`

/**
 * Counts an attempt before the password is looked at, so that parallel attempts cannot slip through together; whether it
 * is within every bound.
 * Keys hold digests: an e-mail address typed into the wrong field is often a password. Throws ProblemError
 * ERR_UPSTREAM_UNAVAILABLE when Redis is away, and then nobody logs in: an attacker who can stop Redis must not get
 * unlimited guesses.
 */
export async function countAttempt(
  redis: Redis,
  { email, address }: { email: string; address: string },
): Promise<boolean> {
  const keys = keysOf(email, address)
  const counts = (await askRedis(redis.eval(COUNT, keys.length, ...keys, WINDOW_SECONDS))) as number[]
  const bounds = [LIMITS.pair, LIMITS.account, LIMITS.address]
  return counts.every((count, index) => count <= (bounds[index] ?? 0))
}

const FORGIVE = `
redis.call('DEL', KEYS[1])
for index = 2, #KEYS do
  local count = redis.pcall('GET', KEYS[index])
  if (tonumber(type(count) == 'string' and count) or 0) > 0 then redis.call('DECR', KEYS[index]) end
end`

/** A good log-in gives its attempt back, so that a shared address does not use itself up. */
export async function forgiveAttempt(
  redis: Redis,
  { email, address }: { email: string; address: string },
): Promise<void> {
  const keys = keysOf(email, address)
  await askRedis(redis.eval(FORGIVE, keys.length, ...keys))
}

async function askRedis<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ cause, facts: { component: 'redis' } })
  }
}

function keysOf(email: string, address: string): string[] {
  const account = digest(email)
  const from = digest(addressKey(address))
  return [`rap:login:pair:${account}:${from}`, `rap:login:account:${account}`, `rap:login:address:${from}`]
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22)
}
