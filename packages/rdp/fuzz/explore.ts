import { BlockCoverage } from './coverage.ts'
import { attempt, type Crash, originOf } from './fuzz.ts'
import { mutate, type Random } from './mutate.ts'
import type { FuzzTarget } from './promise.ts'

/** Inputs between two looks at the coverage, which takes some milliseconds. */
const BATCH = 256

export interface ExploreOptions {
  readonly target: FuzzTarget
  readonly random: Random
  /** When to stop, on the clock of `performance.now()`. */
  readonly until: number
  /** Told of every input before it runs, so that one that never ends is known. */
  readonly onInput: (bytes: Uint8Array) => void
  /** The first crash of each origin. */
  readonly onCrash: (crash: Crash) => void
}

export interface Explored {
  readonly runs: number
  /** Inputs that reached code which none before them had. */
  readonly corpus: number
}

/** Mutates, and keeps whatever reaches new code as a start for further mutations. */
export function explore({ target, random, until, onInput, onCrash }: ExploreOptions): Explored {
  const coverage = new BlockCoverage()
  const corpus: Uint8Array[] = []
  const origins = new Set<string>()
  let runs = 0
  const run = (bytes: Uint8Array) => {
    runs++
    onInput(bytes)
    const crash = attempt(target, bytes)
    if (crash === undefined || origins.has(originOf(crash))) return
    origins.add(originOf(crash))
    onCrash(crash)
  }
  /** Keeps those of the batch that reach something new, found by halving it. */
  const sift = (batch: readonly Uint8Array[]) => {
    coverage.skip()
    for (const bytes of batch) run(bytes)
    if (!coverage.isNew({ keep: batch.length === 1 })) return
    if (batch.length === 1) corpus.push(batch[0] as Uint8Array)
    else {
      const middle = batch.length >> 1
      sift(batch.slice(0, middle))
      sift(batch.slice(middle))
    }
  }
  const pick = () => corpus[random(corpus.length)] as Uint8Array
  for (const seed of target.seeds) sift([seed])
  corpus.push(...target.seeds)
  while (performance.now() < until) sift(Array.from({ length: BATCH }, () => mutate(pick(), pick(), random)))
  coverage.stop()
  return { runs, corpus: corpus.length - target.seeds.length }
}
