import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import type { Redis } from '@rap/service-kit'
import { Refusal } from './refusal.ts'

/** Largest registry entry that is read and parsed, in bytes; anybody who can write to Redis can write a longer one. */
const MAX_ENTRY_BYTES = 16 * 1024
const MAX_URL_CHARACTERS = 512

/**
 * Where a worker answers, by its own heartbeat in Redis.
 *
 * Redis is no authority: a wrong URL leads at most to a TLS handshake, since the dial demands the worker's own certificate.
 * Throws Refusal ERR_WORKER_UNREACHABLE.
 */
export async function findWorkerUrl(redis: Pick<Redis, 'getrange'>, workerId: string): Promise<URL> {
  // One byte more than the bound tells a longer entry from one that just fits; a missing one comes empty.
  const entry = await redis.getrange(`rap:worker:${workerId}`, 0, MAX_ENTRY_BYTES).catch((cause: unknown) => {
    throw new Refusal('ERR_WORKER_UNREACHABLE', 'registry_unavailable', { cause })
  })
  if (entry === '') throw new Refusal('ERR_WORKER_UNREACHABLE', 'worker_not_registered')
  const url = workerUrlOf(entry)
  if (url === undefined) throw new Refusal('ERR_WORKER_UNREACHABLE', 'registry_entry_malformed')
  return url
}

/** The URL in a registry entry, or undefined for anything but `wss://host[:port]/data-plane/v1`. */
export function workerUrlOf(entry: string): URL | undefined {
  if (Buffer.byteLength(entry) > MAX_ENTRY_BYTES) return undefined
  let value: unknown
  try {
    value = (JSON.parse(entry) as { public_url?: unknown } | null)?.public_url
  } catch {
    return undefined
  }
  if (typeof value !== 'string' || value.length > MAX_URL_CHARACTERS || !URL.canParse(value)) return undefined
  const url = new URL(value)
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  return url.protocol === 'wss:' && url.pathname === DATA_PLANE_PATH && isPlain ? url : undefined
}
