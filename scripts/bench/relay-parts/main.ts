import { X509Certificate } from 'node:crypto'
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { issueCertificate, sha256Fingerprint } from '@rap/pki'
import { type Platform, tempDir, writePlatformCertificate } from '@rap/testkit'
import { benchFirewall, tableOfFirewall } from './firewall.ts'
import { measure, measureStall, type Reading, type Rig } from './measure.ts'
import { canRunNginx, startNginx } from './nginx.ts'
import { type Group, Peer, type TargetPorts } from './peer.ts'
import { residentMiB } from './process-stat.ts'
import { median, type Report, type Row, tableOf } from './report.ts'
import { addTarget, SessionStarter, startBenchPlatform } from './sessions.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    firewall: { type: 'boolean', default: false },
    sessions: { type: 'string', default: '' },
  },
})
const most = values.sessions === '' ? (values.quick ? 50 : 200) : Number(values.sessions)
if (!(Number.isInteger(most) && 1 <= most && most <= 1000)) {
  process.stderr.write('error: --sessions is a whole number from 1 to 1000\nhint:  scripts/bench/relay --help\n')
  process.exit(2)
}

const FRAME_BYTES = 20_000
const FPS = 60
/** Sessions that are started at once. */
const STARTS_AT_ONCE = 4
const rounds = values.quick ? 3 : 7
const flood = { seconds: values.quick ? 2 : 3 }
const paced = { seconds: values.quick ? 3 : 5 }
/** Ratios that the product promises, by the number of sessions. */
const CPU_PER_SESSION: Readonly<Record<number, number>> = { 50: 1.3, 200: 1.1 }
const CPU_PER_GB = 1.0
const LATENCY = 2.0
const MEMORY_MIB = 1

const say = (step: string): void => void process.stderr.write(`\x1b[2m${step} ...\x1b[0m\n`)
if (values.firewall) {
  const report = await benchFirewall(values.quick ? { rounds: 3, seconds: 2 } : { rounds: 9, seconds: 3 }, say)
  process.stdout.write(`${values.json ? JSON.stringify(report, undefined, 2) : tableOfFirewall(report)}\n`)
  process.exit()
}
const home = tempDir('rap-bench-')
const stops: (() => unknown)[] = [() => home.remove()]
try {
  const report = await run()
  process.stdout.write(`${values.json ? JSON.stringify(report, undefined, 2) : tableOf(report)}\n`)
} finally {
  for (const stop of stops.reverse()) await stop()
}
process.exit()

async function run(): Promise<Report> {
  const platform = await startBenchPlatform(most + 10, say)
  stops.push(() => platform.stop())
  const target = new Peer(`${import.meta.dirname}/target.ts`)
  const client = new Peer(`${import.meta.dirname}/client.ts`)
  stops.push(
    () => target.stop(),
    () => client.stop(),
  )
  const ports = await listen(platform, target, client)
  const nginx = canRunNginx() ? await relayOfNginx(platform, ports.nginx) : undefined
  const pids = { worker: platform.workers[0]?.pid, nginx: nginx?.pid, direct: undefined, mixed: undefined }
  const rig: Rig = { target, client, pids }
  const groups: readonly Group[] = nginx === undefined ? ['worker', 'direct'] : ['nginx', 'worker', 'direct']

  say('one stream of each kind')
  const starter = new SessionStarter(platform, ports.resourceId)
  const openMore = async (count: number): Promise<void> => {
    for (let opened = 0; opened < count; opened += STARTS_AT_ONCE) {
      const batch = Array.from({ length: Math.min(STARTS_AT_ONCE, count - opened) }, () => starter.start())
      for (const session of batch) await client.order({ do: 'open', group: 'worker', ...(await session) })
    }
    for (let opened = 0; opened < count; opened++) {
      if (nginx !== undefined) await client.order({ do: 'open', group: 'nginx', port: nginx.port })
      await client.order({ do: 'open', group: 'direct', port: ports.direct })
    }
  }
  await openMore(1)
  const rows: Row[] = []

  say(`one stream at full speed, ${rounds} rounds`)
  const full = await inRounds(rig, groups, { streams: 1, fps: 'full', ...flood })
  rows.push(
    rowOf('CPU per GB, one stream at full speed', full, r => r.cpuPerGb, { unit: 's', limit: CPU_PER_GB }),
    rowOf('speed of that stream (not a promise)', full, r => r.bytes / r.seconds / 1e6, { unit: 'MB/s' }),
  )
  say('one client stops reading')
  const stall = await measureStall(rig, values.quick ? 4 : 8)

  let memory: Row | undefined
  let open = 1
  let few: Resident | undefined
  for (const streams of [1, 10, 50, 200].filter(count => count <= most)) {
    const sessions = streams === 1 ? '1 session' : `${streams} sessions`
    say(`${sessions} of ${FPS} frames a second`)
    await openMore(streams - open)
    open = streams
    const readings = await inRounds(rig, groups, { streams, fps: FPS, ...paced })
    const limit = CPU_PER_SESSION[streams]
    rows.push(
      rowOf(`CPU a session, ${sessions}`, readings, r => r.cpuPercentPerSession, {
        unit: '%',
        ...(limit !== undefined && { limit }),
      }),
    )
    if (streams === 10) rows.push(...latencyRows(readings))
    rows.push(rowOf(`frames delivered, ${sessions}`, readings, r => r.delivered * 100, { unit: '%' }))
    const resident = { streams, worker: residentOf(rig, 'worker'), nginx: residentOf(rig, 'nginx') }
    if (few !== undefined) memory = memoryRow(few, resident, nginx !== undefined)
    // The first sessions fill the heap of Node to its working size; from there on a session's own share can be read.
    else if (streams > 1) few = resident
  }
  if (memory !== undefined) rows.push(memory)
  const [model = 'unknown processor'] = cpus().map(cpu => cpu.model)
  return {
    machine: `${cpus().length} cores (${model.trim()}), Node ${process.versions.node}, load average ${loadavg()[0]?.toFixed(1)}`,
    rows,
    stall,
    notes: nginx === undefined ? ['nginx with its stream module is not installed: there is no anchor.'] : [],
  }
}

async function listen(platform: Platform, target: Peer, client: Peer) {
  const { authority } = platform
  const certificate = await issueCertificate({
    authority,
    commonName: 'bench target',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    usages: ['server'],
    now: new Date(),
  })
  const { certificatePem, keyPem } = certificate
  const ports = await target.order<TargetPorts>({
    do: 'listen',
    cert: certificatePem,
    key: keyPem,
    frameBytes: FRAME_BYTES,
  })
  await client.order({ do: 'trust', ca: authority.certificatePem, frameBytes: FRAME_BYTES })
  const pin = sha256Fingerprint(new X509Certificate(certificatePem).raw)
  return { ...ports, resourceId: await addTarget(platform, ports.worker, pin) }
}

async function relayOfNginx(platform: Platform, targetPort: number) {
  const subject = { kind: 'service', id: 'bench' } as const
  const nginx = await startNginx(
    home.path,
    await writePlatformCertificate(home.path, platform.authority, subject),
    targetPort,
  )
  stops.push(() => nginx.stop())
  return nginx
}

/** Readings of every group, taken in turns, so that what else the machine does falls on all of them. */
async function inRounds(
  rig: Rig,
  groups: readonly Group[],
  load: { readonly streams: number; readonly fps: number | 'full'; readonly seconds: number },
): Promise<Partial<Record<Group, Reading[]>>> {
  const readings: Partial<Record<Group, Reading[]>> = {}
  for (let round = 0; round < rounds; round++) {
    for (const group of groups) {
      const taken = readings[group] ?? []
      readings[group] = taken
      taken.push(await measure(rig, { group, ...load }))
    }
  }
  return readings
}

function rowOf(
  name: string,
  readings: Partial<Record<Group, Reading[]>>,
  read: (reading: Reading) => number,
  { unit, limit }: { readonly unit: string; readonly limit?: number },
): Row {
  const worker = (readings.worker ?? []).map(read)
  const anchor = readings.nginx?.map(read)
  const ratio = anchor === undefined ? undefined : median(worker.map((value, round) => value / (anchor[round] ?? NaN)))
  return {
    measure: name,
    worker: median(worker),
    anchor: anchor === undefined ? undefined : median(anchor),
    unit,
    ratio,
    mustReach: limit === undefined ? '' : `≤ ${limit}`,
    reached: limit === undefined || ratio === undefined ? undefined : ratio <= limit,
  }
}

/** Latency beyond that of a direct connection. */
function latencyRows(readings: Partial<Record<Group, Reading[]>>): Row[] {
  const added = (quantile: 'p50Micros' | 'p99Micros'): Partial<Record<Group, Reading[]>> => {
    const direct = readings.direct ?? []
    const lessDirect = (group: Group): Reading[] | undefined =>
      readings[group]?.map((reading, round) => ({
        ...reading,
        [quantile]: Math.max(1, reading[quantile] - (direct[round]?.[quantile] ?? 0)),
      }))
    return { worker: lessDirect('worker') ?? [], ...(readings.nginx && { nginx: lessDirect('nginx') ?? [] }) }
  }
  return [
    rowOf('added latency p50, 10 sessions', added('p50Micros'), r => r.p50Micros, { unit: 'µs', limit: LATENCY }),
    rowOf('added latency p99, 10 sessions', added('p99Micros'), r => r.p99Micros, { unit: 'µs' }),
  ]
}

function residentOf({ pids }: Rig, group: Group): number {
  const pid = pids[group]
  return pid === undefined ? 0 : residentMiB(pid)
}

interface Resident {
  readonly streams: number
  readonly worker: number
  readonly nginx: number
}

function memoryRow(few: Resident, many: Resident, hasAnchor: boolean): Row {
  const more = many.streams - few.streams
  const worker = (many.worker - few.worker) / more
  return {
    measure: `memory of one more session, from ${few.streams} to ${many.streams}`,
    worker,
    anchor: hasAnchor ? (many.nginx - few.nginx) / more : undefined,
    unit: 'MiB',
    ratio: undefined,
    mustReach: `≤ ${MEMORY_MIB} MiB`,
    reached: worker <= MEMORY_MIB,
  }
}
