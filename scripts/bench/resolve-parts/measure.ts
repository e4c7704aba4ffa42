import { cpuSeconds } from '../relay-parts/process-stat.ts'
import type { Body, Group, Stand } from './stand.ts'

/** How clients ask. */
export interface Load {
  readonly name: string
  readonly concurrency: number
  /** A new TLS connection for each request instead of connections that stay open. */
  readonly reconnect: boolean
}

export interface Reading {
  readonly answers: number
  readonly perSecond: number
  /** CPU milliseconds of the server process for one answer. */
  readonly cpuMs: number
  /** Answers for one CPU second of the server process. */
  readonly perCoreSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/**
 * Closed loop: each client sends its next request when it has the answer of the last one. Ends when the bodies are used
 * up, or, for a server that takes them again, after `seconds`.
 */
export async function measure(
  stand: Stand,
  group: Group,
  { load, bodies, seconds }: { readonly load: Load; readonly bodies: readonly Body[]; readonly seconds?: number },
): Promise<Reading> {
  const { client, close } = stand.client(group)
  const headers = load.reconnect ? { connection: 'close' } : {}
  const ask = async (body: Body): Promise<void> => {
    const answer = await client.request<{ jwe: string }>({ method: 'POST', path: '/v1/resolve', body, headers })
    if (typeof answer.jwe !== 'string') throw new Error(`${group} answered without a secret`)
  }
  const times: number[] = []
  let next = 0
  const cpuBefore = cpuSeconds(stand.pids[group])
  const startedAt = performance.now()
  const endsAt = seconds === undefined ? Number.POSITIVE_INFINITY : startedAt + seconds * 1000
  const loop = async (): Promise<void> => {
    for (;;) {
      if (seconds === undefined ? next >= bodies.length : performance.now() >= endsAt) return
      const body = bodies[next++ % bodies.length] as Body
      const sentAt = performance.now()
      await ask(body)
      times.push(performance.now() - sentAt)
    }
  }
  try {
    await Promise.all(Array.from({ length: load.concurrency }, loop))
  } finally {
    await close()
  }
  const elapsed = (performance.now() - startedAt) / 1000
  const cpu = cpuSeconds(stand.pids[group]) - cpuBefore
  const sorted = Float64Array.from(times).sort()
  return {
    answers: times.length,
    perSecond: times.length / elapsed,
    cpuMs: (cpu / times.length) * 1000,
    perCoreSecond: times.length / cpu,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
  }
}

/** The smallest value that this part of all values does not exceed. */
export function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN
}
