import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { type Load, measure, type Reading } from './measure.ts'
import { type Report, type Row, rowsOf, tableOf } from './report.ts'
import { type Stand, startStand } from './stand.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '' },
    seconds: { type: 'string', default: '' },
    profile: { type: 'string' },
  },
})
const rounds = numberOf('rounds', values.rounds, values.quick ? 3 : 5)
const seconds = numberOf('seconds', values.seconds, values.quick ? 1 : 1.5)

const LOADS: readonly Load[] = [
  { name: '1 client', concurrency: 1, reconnect: false },
  { name: '8 clients', concurrency: 8, reconnect: false },
  { name: '32 clients', concurrency: 32, reconnect: false },
  { name: '8 clients, new connections', concurrency: 8, reconnect: true },
]
/** Resolves before anything is measured: it takes V8 some thousands to compile what matters. */
const WARM_UP = 4000
/** Resolves that tell how many fill a round. */
const PROBE = 300
const FEWEST = 50
/** Tokens of one round end after two minutes, so a round may not hold more than are used up by then. */
const MOST = 20_000

const isTerminal = process.stderr.isTTY === true
const say = (step: string): void => {
  if (isTerminal) process.stderr.write(`\x1b[2K\r\x1b[2m${step} ...\x1b[0m`)
  else process.stderr.write(`${step} ...\n`)
}

const stand = await startStand({
  organizations: 16,
  resourcesEach: 8,
  sessionsEach: 4,
  profileDir: values.profile,
  onProgress: say,
})
try {
  const report = await run(stand)
  if (isTerminal) process.stderr.write('\x1b[2K\r')
  process.stdout.write(`${values.json ? JSON.stringify(report, undefined, 2) : tableOf(report)}\n`)
} finally {
  await stand.stop()
}
process.exit()

async function run(stand: Stand): Promise<Report> {
  const rows: Row[] = []
  say('warm-up')
  const eight = { name: 'warm-up', concurrency: 8, reconnect: false }
  await measure(stand, 'resolve', { load: eight, bodies: await stand.bodies(WARM_UP) })
  await measure(stand, 'bare', { load: eight, bodies: await stand.bodies(1), seconds: 2 })
  for (const load of LOADS) {
    say(load.name)
    const probe = await measure(stand, 'resolve', { load, bodies: await stand.bodies(PROBE) })
    const count = Math.min(MOST, Math.max(FEWEST, Math.round(probe.perSecond * seconds)))
    const readings: Record<'resolve' | 'bare', Reading[]> = { resolve: [], bare: [] }
    for (let round = 1; round <= rounds; round++) {
      say(`${load.name}: round ${round} of ${rounds}`)
      const bodies = await stand.bodies(count)
      readings.resolve.push(await measure(stand, 'resolve', { load, bodies }))
      readings.bare.push(await measure(stand, 'bare', { load, bodies, seconds }))
    }
    rows.push(...rowsOf(load, readings))
  }
  const [model = 'unknown processor'] = cpus().map(cpu => cpu.model)
  return {
    machine: `${cpus().length} cores (${model.trim()}), Node ${process.versions.node}, load average ${loadavg()[0]?.toFixed(1)}`,
    rows,
  }
}

function numberOf(name: string, text: string, otherwise: number): number {
  if (text === '') return otherwise
  const value = Number(text)
  if (0 < value && value <= 100) return value
  process.stderr.write(`error: --${name} is a number above 0, at most 100\nhint:  scripts/bench/resolve --help\n`)
  process.exit(2)
}
