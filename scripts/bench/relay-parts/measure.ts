import { setTimeout as sleep } from 'node:timers/promises'
import type { Counted, Group, Peer } from './peer.ts'
import { cpuSeconds, residentMiB } from './process-stat.ts'

/** Time for a new load to settle before it is measured, in milliseconds. */
const SETTLE_MS = 700

export interface Rig {
  readonly target: Peer
  readonly client: Peer
  /** The relay process of each group; a direct connection has none. */
  readonly pids: Readonly<Record<Group, number | undefined>>
}

export interface Reading extends Counted {
  /** CPU seconds of the relay per GB (10^9 bytes) that its clients got. */
  readonly cpuPerGb: number
  /** CPU of the relay for one session, in percent of a core. */
  readonly cpuPercentPerSession: number
  readonly residentMiB: number
  /** Part of the frames sent that arrived. */
  readonly delivered: number
}

/** Runs one load for a while and reads what it cost. */
export async function measure(
  { target, client, pids }: Rig,
  load: { readonly group: Group; readonly streams: number; readonly fps: number | 'full'; readonly seconds: number },
): Promise<Reading> {
  const { group, streams, fps, seconds } = load
  const pid = pids[group]
  const cpu = (): number => (pid === undefined ? 0 : cpuSeconds(pid))
  await target.order({ do: 'emit', group, streams, fps })
  await sleep(SETTLE_MS)
  await client.order({ do: 'count' })
  const cpuBefore = cpu()
  const sentBefore = await target.order<{ frames: number }>({ do: 'sent' })
  await sleep(seconds * 1000)
  const counted = await client.order<Counted>({ do: 'counted' })
  const used = cpu() - cpuBefore
  const sentAfter = await target.order<{ frames: number }>({ do: 'sent' })
  await target.order({ do: 'quiet' })
  await sleep(SETTLE_MS / 2)
  return {
    ...counted,
    cpuPerGb: used / (counted.bytes / 1e9),
    cpuPercentPerSession: (used / counted.seconds / streams) * 100,
    residentMiB: pid === undefined ? 0 : residentMiB(pid),
    delivered: counted.frames / Math.max(1, sentAfter.frames - sentBefore.frames),
  }
}

export interface StallReading {
  /** Growth of the worker while one client does not read and its target would send without end, in MiB. */
  readonly growthMiB: number
  /** Bytes that the target got rid of in the last second of the stall. */
  readonly targetBytesAtEnd: number
  /** Bytes that the target could send before it was paused. */
  readonly takenBytes: number
  /** Bytes a second after the client reads again. */
  readonly recoveredBytesPerSecond: number
}

/** One client stops reading while its target sends without end. */
export async function measureStall({ target, client, pids }: Rig, seconds: number): Promise<StallReading> {
  const pid = pids.worker ?? 0
  const sentBytes = async (): Promise<number> => (await target.order<{ bytes: number }>({ do: 'sent' })).bytes
  const before = residentMiB(pid)
  await client.order({ do: 'stall', group: 'worker', stalled: true })
  await target.order({ do: 'emit', group: 'worker', streams: 1, fps: 'full' })
  let highest = before
  for (let second = 0; second < seconds; second++) {
    await sleep(1000)
    highest = Math.max(highest, residentMiB(pid))
  }
  const taken = await sentBytes()
  await sleep(1000)
  const targetBytesAtEnd = (await sentBytes()) - taken
  await client.order({ do: 'stall', group: 'worker', stalled: false })
  await client.order({ do: 'count' })
  await sleep(1000)
  const { bytes, seconds: elapsed } = await client.order<Counted>({ do: 'counted' })
  await target.order({ do: 'quiet' })
  await sleep(SETTLE_MS)
  return { growthMiB: highest - before, targetBytesAtEnd, takenBytes: taken, recoveredBytesPerSecond: bytes / elapsed }
}
