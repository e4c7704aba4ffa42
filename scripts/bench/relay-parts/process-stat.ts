import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU seconds that a process has used, user and system, all its threads that are alive.
 *
 * From schedstat, in nanoseconds: the ticks of /proc/pid/stat, of 10 ms each, are too coarse for a round of few sessions.
 */
export function cpuSeconds(pid: number): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map(thread =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]),
  )
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e9
}

/** Resident memory of a process, in MiB. */
export function residentMiB(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  return Number(kilobytes) / 1024
}
