import { explainSteps, outcomeOf, tlsWords } from './explain.ts'
import type { TraceStep } from './trace-step.ts'

/** A trace as JSON. `path` is null where no path was found, or none yet. */
export interface TraceRecord {
  readonly path: 'direct' | 'gateway' | null
  readonly explanation: string
  readonly steps: readonly TraceStep[]
}

/** The record of one choice: answers "why did I get the gateway?". It holds no token. */
export class Trace {
  readonly #startedAt: number
  readonly #now: () => number
  readonly #steps: TraceStep[] = []

  constructor(now: () => number) {
    this.#now = now
    this.#startedAt = now()
  }

  get steps(): readonly TraceStep[] {
    return this.#steps
  }

  add(step: Omit<TraceStep, 'at_ms'>): void {
    const words = step.reason === 'tls' ? tlsWords(step.system_code) : undefined
    const detail = words === undefined ? {} : { detail: words }
    this.#steps.push({ at_ms: Math.round(this.#now() - this.#startedAt), ...detail, ...step })
  }

  /** One or two sentences for a person: which way was taken, and why not the better one. */
  explain(): string {
    return explainSteps(this.#steps)
  }

  toJSON(): TraceRecord {
    return { path: outcomeOf(this.#steps) ?? null, explanation: this.explain(), steps: this.#steps }
  }

  /** One line a step, for a log or a terminal. */
  toString(): string {
    return this.#steps
      .map(({ at_ms, candidate, url, event, reason, system_code, bundle, detail }) => {
        const more = [bundle, system_code].filter(part => part !== undefined).join(', ')
        return `+${at_ms}ms ${candidate} ${url}: ${event}: ${reason}${more && ` (${more})`}${detail === undefined ? '' : `: ${detail}`}`
      })
      .join('\n')
  }
}
