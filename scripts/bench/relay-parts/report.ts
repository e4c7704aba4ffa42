import type { StallReading } from './measure.ts'

/** One measure: ours, the anchor in the same run, and what was promised of their ratio. */
export interface Row {
  readonly measure: string
  readonly worker: number
  readonly anchor: number | undefined
  readonly unit: string
  /** Ours over the anchor's: the middle of the ratios of the single rounds. */
  readonly ratio: number | undefined
  readonly mustReach: string
  readonly reached: boolean | undefined
}

export interface Report {
  readonly machine: string
  readonly rows: readonly Row[]
  readonly stall: StallReading
  readonly notes: readonly string[]
}

const number = (value: number | undefined): string =>
  value === undefined ? '–' : Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2)

/** The report as a Markdown table, which is what docs/operations/performance.md holds. */
export function tableOf({ machine, rows, stall, notes }: Report): string {
  const lines = [
    `Measured on ${machine}.`,
    '',
    '| measure | rdp-worker | nginx TLS→TLS | ratio | must reach | |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows.map(
      row =>
        `| ${row.measure} | ${number(row.worker)} ${row.unit} | ${number(row.anchor)} | ${number(row.ratio)} | ${row.mustReach} | ${mark(row.reached)} |`,
    ),
    '',
    `A client that stops reading: the target was paused after ${(stall.takenBytes / 1e6).toFixed(1)} MB (buffers of the system included), ` +
      `${stall.targetBytesAtEnd === 0 ? 'then sent nothing' : `and still sent ${stall.targetBytesAtEnd} bytes a second`}; ` +
      `the worker grew by ${stall.growthMiB.toFixed(1)} MiB; after the client read again ${(stall.recoveredBytesPerSecond / 1e6).toFixed(0)} MB/s came.`,
    ...notes.map(note => `\n${note}`),
  ]
  return lines.join('\n')
}

function mark(reached: boolean | undefined): string {
  return reached === undefined ? '' : reached ? 'yes' : 'NO'
}

/** The middle one, or the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[(sorted.length - 1) >> 1] ?? Number.NaN
}
