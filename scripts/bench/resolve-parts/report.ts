import { median } from '../relay-parts/report.ts'
import type { Load, Reading } from './measure.ts'
import type { Group } from './stand.ts'

/** Readings of one load, round by round; the n-th of both groups were taken one after the other. */
export type Rounds = Readonly<Record<Group, readonly Reading[]>>

export interface Row {
  readonly load: string
  readonly measure: string
  readonly resolve: number
  readonly bare: number
  readonly unit: string
  /** The middle of the ratios of the single rounds. */
  readonly ratio: number
  readonly mustReach: string
  readonly reached: boolean | undefined
}

export interface Report {
  readonly machine: string
  readonly rows: readonly Row[]
}

/** What is promised: at least half of the bare route's answers a core, a p99 of at most three times its own. */
const RATE = 0.5
const P99 = 3

const MEASURES: readonly {
  readonly name: string
  readonly unit: string
  readonly of: (reading: Reading) => number
  readonly limit?: { readonly text: string; readonly holds: (ratio: number) => boolean }
}[] = [
  {
    name: 'answers a core-second',
    unit: '/s',
    of: reading => reading.perCoreSecond,
    limit: { text: `≥ ${RATE}`, holds: ratio => ratio >= RATE },
  },
  { name: 'CPU an answer', unit: 'ms', of: reading => reading.cpuMs },
  { name: 'answers a second', unit: '/s', of: reading => reading.perSecond },
  { name: 'p50', unit: 'ms', of: reading => reading.p50Ms },
  {
    name: 'p99',
    unit: 'ms',
    of: reading => reading.p99Ms,
    limit: { text: `≤ ${P99}`, holds: ratio => ratio <= P99 },
  },
]

/** The rows of one load. */
export function rowsOf(load: Load, rounds: Rounds): Row[] {
  return MEASURES.map(({ name, unit, of, limit }) => {
    const [resolve, bare] = [rounds.resolve.map(of), rounds.bare.map(of)]
    const ratio = median(resolve.map((value, round) => value / (bare[round] ?? Number.NaN)))
    return {
      load: load.name,
      measure: name,
      resolve: median(resolve),
      bare: median(bare),
      unit,
      ratio,
      mustReach: limit?.text ?? '',
      reached: limit?.holds(ratio),
    }
  })
}

const number = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2))

/** The report as a Markdown table, which is what docs/operations/performance.md holds. */
export function tableOf({ machine, rows }: Report): string {
  return [
    `Measured on ${machine}.`,
    '',
    '| load | measure | secret-resolver | bare route | ratio | must reach | |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map(row => {
      const mark = row.reached === undefined ? '' : row.reached ? 'yes' : 'NO'
      return `| ${row.load} | ${row.measure} | ${number(row.resolve)} ${row.unit} | ${number(row.bare)} | ${number(row.ratio)} | ${row.mustReach} | ${mark} |`
    }),
  ].join('\n')
}
