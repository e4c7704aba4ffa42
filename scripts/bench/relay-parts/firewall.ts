import { cpus, loadavg } from 'node:os'
import { createAuthority, issueCertificate } from '@rap/pki'
import type { RelayCounters } from '@rap/rdp'
import { measure, type Reading, type Rig } from './measure.ts'
import { Peer, type TargetPorts } from './peer.ts'
import { median } from './report.ts'

const FRAME_BYTES = 20_000
const FPS = 60
const SESSIONS = 50
/** Until the code that both share is compiled as it stays. */
const WARM_UP_ROUNDS = 2
/** Paced sessions cost little and spread much: more rounds of them, for a middle that holds. */
const PACED_ROUNDS = 4
/** What the firewall may cost, and what it may take of the speed. */
const LIMIT = 1.03

/** One comparison: with the firewall, without it, and the middle of the ratios of the rounds. */
export interface FirewallRow {
  readonly measure: string
  readonly on: number
  readonly off: number
  readonly unit: string
  readonly ratio: number
  /** Half of the rounds lay between these two ratios. */
  readonly quartiles: readonly [number, number]
  readonly mustReach: string
  readonly reached: boolean | undefined
}

export interface FirewallReport {
  readonly machine: string
  readonly rows: readonly FirewallRow[]
  /** What went through the clipboard and the drive that were in use, altogether. */
  readonly used: { readonly texts: number; readonly driveMegabytes: number }
}

/**
 * The relay core with its rules on and off, in one process and in turns; and the core with a clipboard and a drive in use, beside itself
 * without.
 */
export async function benchFirewall(
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
  say: (step: string) => void,
): Promise<FirewallReport> {
  const peers = ['target', 'client', 'firewall-relay'].map(name => new Peer(`${import.meta.dirname}/${name}.ts`))
  const [target, client, relay] = peers as [Peer, Peer, Peer]
  try {
    const authority = await createAuthority({ name: 'bench', days: 1, now: new Date() })
    const { certificatePem: cert, keyPem: key } = await issueCertificate({
      authority,
      commonName: 'bench',
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
      usages: ['server'],
      now: new Date(),
    })
    const ca = authority.certificatePem
    const ports = await target.order<TargetPorts>({ do: 'listen', cert, key, frameBytes: FRAME_BYTES })
    const relays = await relay.order<{ on: number; off: number; mixed: number }>({ do: 'relay', cert, key, ca, ports })
    await client.order({ do: 'trust', ca, frameBytes: FRAME_BYTES })
    for (let opened = 0; opened < SESSIONS; opened++) {
      await client.order({ do: 'open', group: 'worker', port: relays.on })
      await client.order({ do: 'open', group: 'nginx', port: relays.off })
    }
    const pids = { worker: relay.pid, nginx: relay.pid, direct: undefined, mixed: relay.pid }
    const rig: Rig = { target, client, pids }
    const inRounds = async (
      groups: readonly ['worker', 'nginx'],
      streams: number,
      fps: number | 'full',
      count = rounds,
    ) => {
      const pairs: [Reading, Reading][] = []
      for (let round = 0; round < count; round++) {
        // Who goes first changes, so that a drift of the machine falls on both.
        const order = round % 2 === 0 ? groups : groups.toReversed()
        const taken = new Map<string, Reading>()
        for (const group of order) taken.set(group, await measure(rig, { group, streams, fps, seconds }))
        pairs.push([taken.get(groups[0]) as Reading, taken.get(groups[1]) as Reading])
      }
      return pairs
    }
    say(`one stream at full speed, ${rounds} rounds`)
    await inRounds(['worker', 'nginx'], 1, 'full', WARM_UP_ROUNDS)
    const full = await inRounds(['worker', 'nginx'], 1, 'full')
    say(`${SESSIONS} sessions of ${FPS} frames a second`)
    await inRounds(['worker', 'nginx'], SESSIONS, FPS, WARM_UP_ROUNDS)
    const paced = await inRounds(['worker', 'nginx'], SESSIONS, FPS, rounds * PACED_ROUNDS)
    say('one session, and one whose clipboard and drive are in use')
    const alone = await inRounds(['worker', 'nginx'], 1, FPS)
    // From here on the channels of that one are in use, whoever is measured: so it cannot be in turns.
    await client.order({ do: 'open', group: 'mixed', port: relays.mixed })
    const mixed: [Reading, Reading][] = []
    for (const [without] of alone) {
      mixed.push([await measure(rig, { group: 'mixed', streams: 1, fps: FPS, seconds }), without])
    }
    const counters = await relay.order<RelayCounters>({ do: 'counters' })
    const used = { texts: counters.clipboardToClient, driveMegabytes: counters.driveReadBytes / 1e6 }
    if (!(used.texts > 0 && used.driveMegabytes > 0)) throw new Error('neither clipboard nor drive was in use')
    const [model = 'unknown processor'] = cpus().map(cpu => cpu.model)
    return {
      machine: `${cpus().length} cores (${model.trim()}), Node ${process.versions.node}, load average ${loadavg()[0]?.toFixed(1)}`,
      rows: [
        rowOf('CPU per GB, one stream at full speed', full, r => r.cpuPerGb, { unit: 's', atMost: LIMIT }),
        rowOf('speed of that stream', full, r => r.bytes / r.seconds / 1e6, { unit: 'MB/s', atLeast: 1 / LIMIT }),
        rowOf(`CPU a session, ${SESSIONS} sessions`, paced, r => r.cpuPercentPerSession, { unit: '%', atMost: LIMIT }),
        rowOf(
          'CPU of one session with clipboard and drive in use, beside one without',
          mixed,
          r => r.cpuPercentPerSession,
          { unit: '%' },
        ),
      ],
      used,
    }
  } finally {
    for (const peer of peers) await peer.stop()
  }
}

function rowOf(
  name: string,
  pairs: readonly (readonly [Reading, Reading])[],
  read: (reading: Reading) => number,
  { unit, atMost, atLeast }: { readonly unit: string; readonly atMost?: number; readonly atLeast?: number },
): FirewallRow {
  const ratios = pairs.map(([on, off]) => read(on) / read(off)).sort((a, b) => a - b)
  const ratio = median(ratios)
  const quartile = (part: number) => ratios[Math.round((ratios.length - 1) * part)] ?? Number.NaN
  return {
    measure: name,
    on: median(pairs.map(([on]) => read(on))),
    off: median(pairs.map(([, off]) => read(off))),
    unit,
    ratio,
    quartiles: [quartile(0.25), quartile(0.75)],
    mustReach: atMost !== undefined ? `≤ ${atMost}` : atLeast !== undefined ? `≥ ${atLeast.toFixed(2)}` : '',
    reached: atMost !== undefined ? ratio <= atMost : atLeast !== undefined ? ratio >= atLeast : undefined,
  }
}

/** The report as a Markdown table, which is what docs/operations/performance.md holds. */
export function tableOfFirewall({ machine, rows, used }: FirewallReport): string {
  return [
    `Measured on ${machine}.`,
    '',
    '| measure | on | off | ratio | half of the rounds | must reach | |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map(({ measure, on, off, unit, ratio, quartiles, mustReach, reached }) => {
      const mark = reached === undefined ? '' : reached ? 'yes' : 'NO'
      return `| ${measure} | ${on.toFixed(2)} ${unit} | ${off.toFixed(2)} | ${ratio.toFixed(3)} | ${quartiles.map(each => each.toFixed(3)).join(' to ')} | ${mustReach} | ${mark} |`
    }),
    '',
    `In use meant ${used.texts} texts and ${used.driveMegabytes.toFixed(0)} MB of files.`,
  ].join('\n')
}
