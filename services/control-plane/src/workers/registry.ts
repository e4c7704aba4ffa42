import type { Redis } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { WorkerLoad } from './choose-worker.ts'

/** Longest heartbeat that is read, in bytes; anybody who can write to Redis can write a longer one. */
const MAX_HEARTBEAT_BYTES = 8192

/** The parts of a heartbeat that are used. What it says beside them (its URL, its labels) is not believed. */
const Heartbeat = Type.Object({
  worker_id: Type.String(),
  load: Type.Object({
    sessions: Type.Integer({ minimum: 0, maximum: 100_000 }),
    max_sessions: Type.Integer({ minimum: 0, maximum: 100_000 }),
  }),
  traffic_ready: Type.Boolean(),
})

export const heartbeatKey = (workerId: string) => `rap:worker:${workerId}`

/** The load that workers report, by worker id; without an entry, a worker is not there. Rejects when Redis is away. */
export async function readHeartbeats(redis: Redis, workerIds: readonly string[]): Promise<Map<string, WorkerLoad>> {
  if (workerIds.length === 0) return new Map()
  const pipeline = redis.pipeline()
  // One byte more than the bound tells a longer value from one that just fits.
  for (const id of workerIds) pipeline.getrange(heartbeatKey(id), 0, MAX_HEARTBEAT_BYTES)
  const results = (await pipeline.exec()) ?? []
  const loads = new Map<string, WorkerLoad>()
  for (const [index, id] of workerIds.entries()) {
    const [error, value] = results[index] ?? [null, undefined]
    if (error !== null && !error.message.startsWith('WRONGTYPE')) throw error
    const load = parseHeartbeat(value, id)
    if (load !== undefined) loads.set(id, load)
  }
  return loads
}

/** Reads one heartbeat, or returns undefined for anything that is not the heartbeat of this worker. */
export function parseHeartbeat(value: unknown, workerId: string): WorkerLoad | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_HEARTBEAT_BYTES) return undefined
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch {
    return undefined
  }
  if (!Value.Check(Heartbeat, parsed) || parsed.worker_id !== workerId) return undefined
  return {
    sessions: parsed.load.sessions,
    maxSessions: parsed.load.max_sessions,
    trafficReady: parsed.traffic_ready,
  }
}
