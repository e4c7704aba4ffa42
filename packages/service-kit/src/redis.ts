import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from './log.ts'
import { Secret } from './secret.ts'

export type { Redis } from 'ioredis'

export interface RedisSettings {
  /** Shown in `CLIENT LIST`; letters, digits and dashes. */
  name: string
  logger: Logger
  /** For connections that wait inside a command (`XREAD BLOCK`, subscriptions): no time limit for one command. */
  blocking?: boolean
  /** Trust bundle for `rediss:` URLs. */
  ca?: string | Buffer | undefined
}

const MAX_RETRY_DELAY_MS = 2000
const COMMAND_TIMEOUT_MS = 5000
const LOG_INTERVAL_MS = 1000

/** Delay before connection attempt `attempt` (1, 2, …), in milliseconds: doubling from 50 ms to 2 s. */
function retryDelayMs(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt - 1, 10), MAX_RETRY_DELAY_MS)
}

/**
 * An ioredis client that reconnects for ever with bounded pauses and fails single commands soon.
 *
 * It connects by itself, and a Redis that is away is no error here: commands wait for at most a few attempts and then
 * reject. Connection errors are logged once a second at most.
 */
export function connectRedis(url: string | Secret, { name, logger, blocking = false, ca }: RedisSettings): Redis {
  const text = url instanceof Secret ? url.expose().toString('utf8') : url
  const options: RedisOptions = {
    connectionName: name,
    connectTimeout: 5000,
    keepAlive: 10_000,
    // Redis emptied or promoted: a replica answers READONLY, and only a new connection finds the new primary.
    reconnectOnError: error => error.message.startsWith('READONLY'),
    retryStrategy: retryDelayMs,
    maxRetriesPerRequest: 3,
    ...(!blocking && { commandTimeout: COMMAND_TIMEOUT_MS }),
    ...(ca !== undefined && { tls: { ca } }),
  }
  const redis = new Redis(text, options)
  let lastLoggedAt = Number.NEGATIVE_INFINITY
  let suppressed = 0
  redis.on('error', (error: Error) => {
    const now = performance.now()
    if (now - lastLoggedAt < LOG_INTERVAL_MS) {
      suppressed += 1
      return
    }
    logger.warn({ event: 'redis_connection_failed', name, suppressed_count: suppressed, err: error }, 'redis failed')
    lastLoggedAt = now
    suppressed = 0
  })
  redis.on('ready', () => logger.debug({ event: 'redis_connected', name }, 'redis connected'))
  return redis
}
