import { Presets, SingleBar } from 'cli-progress'

/** What a command prints: sentences and tables in a terminal, one JSON object a line otherwise. */
export class Output {
  readonly isJson: boolean

  constructor({ json = false }: { json?: boolean | undefined } = {}) {
    this.isJson = json || !process.stdout.isTTY
  }

  /** The outcome: `fields` for programs, `text` for people. */
  result(event: string, fields: object, text: string): void {
    process.stdout.write(this.isJson ? `${JSON.stringify({ event, ...fields })}\n` : `${text}\n`)
  }

  warn(text: string): void {
    process.stderr.write(`warning: ${text}\n`)
  }

  /** How far a long command is; a bar in a terminal, a JSON line every second otherwise. */
  progress(event: string): Progress {
    return this.isJson ? new ProgressLines(event) : new ProgressBar()
  }
}

export interface ProgressState {
  readonly total: number
  readonly done: number
  readonly failed: number
  /** Rows a second. */
  readonly rate: number
  /** Undefined until a rate is known. */
  readonly secondsLeft: number | undefined
}

export interface Progress {
  update(state: ProgressState): void
  end(): void
}

const LINE_INTERVAL_MS = 1000

class ProgressLines implements Progress {
  readonly #event: string
  #last: ProgressState | undefined
  #printedAt = Number.NEGATIVE_INFINITY
  #isPrinted = true

  constructor(event: string) {
    this.#event = event
  }

  update(state: ProgressState): void {
    this.#last = state
    this.#isPrinted = false
    if (performance.now() - this.#printedAt >= LINE_INTERVAL_MS) this.#print()
  }

  end(): void {
    if (!this.#isPrinted) this.#print()
  }

  #print(): void {
    if (this.#last === undefined) return
    const { total, done, failed, rate, secondsLeft } = this.#last
    const line = {
      event: this.#event,
      total,
      done,
      failed,
      rate_per_second: Math.round(rate * 10) / 10,
      seconds_left: secondsLeft === undefined ? null : Math.ceil(secondsLeft),
    }
    process.stdout.write(`${JSON.stringify(line)}\n`)
    this.#printedAt = performance.now()
    this.#isPrinted = true
  }
}

class ProgressBar implements Progress {
  readonly #bar = new SingleBar(
    {
      format: '{bar} {percentage}%  {value}/{total}  {speed}/s  {left} left{failures}',
      stream: process.stderr,
      hideCursor: true,
      // Its own estimate knows nothing of other runners.
      etaBuffer: 1,
    },
    Presets.shades_classic,
  )
  #isStarted = false

  update({ total, done, failed, rate, secondsLeft }: ProgressState): void {
    const payload = {
      speed: Math.round(rate),
      left: secondsLeft === undefined ? '?' : durationText(secondsLeft),
      failures: failed === 0 ? '' : `  ${failed} failed`,
    }
    if (!this.#isStarted) this.#bar.start(total, done, payload)
    else this.#bar.update(done, payload)
    this.#isStarted = true
  }

  end(): void {
    if (this.#isStarted) this.#bar.stop()
  }
}

/** `2 h 5 min`, `3 min 20 s`, `7 s`. */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds)
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60]
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`
}

/** Columns as wide as their widest cell, under a head line. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map(row => row[at]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd()
  return [line(head), line(widths.map(width => '─'.repeat(width))), ...rows.map(line)].join('\n')
}
