import { Session } from 'node:inspector'

interface Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[]
    }[]
  }[]
}

/** Which code of this package has run so far, as V8 itself counts it: by block. */
export class BlockCoverage {
  readonly #session = new Session()
  /** Per file: 1 for every offset of its text that has run. */
  readonly #seen = new Map<string, Uint8Array>()

  constructor() {
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** Forgets what ran since the last call. */
  skip(): void {
    this.#take()
  }

  /** Whether something ran since the last call that never ran before. `keep`: it counts as seen from now on. */
  isNew({ keep }: { readonly keep: boolean }): boolean {
    let isNew = false
    for (const { url, functions } of this.#take().result) {
      if (!/\/packages\/rdp\/src\//.test(url)) continue
      const ran = new Uint8Array(1 + Math.max(0, ...functions.map(({ ranges }) => ranges[0]?.endOffset ?? 0)))
      // An inner range stands behind the one that it is in.
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges) ran.fill(Math.min(count, 1), startOffset, endOffset)
      const seen = this.#seenOf(url, ran.length)
      for (let at = 0; at < ran.length; at++) {
        if (ran[at] === 0 || seen[at] === 1) continue
        isNew = true
        if (!keep) return true
        seen[at] = 1
      }
    }
    return isNew
  }

  stop(): void {
    this.#session.disconnect()
  }

  #seenOf(url: string, size: number): Uint8Array {
    const seen = this.#seen.get(url)
    if (seen !== undefined && seen.length >= size) return seen
    const grown = new Uint8Array(size)
    grown.set(seen ?? [])
    this.#seen.set(url, grown)
    return grown
  }

  #take(): Coverage {
    let taken: Coverage = { result: [] }
    this.#session.post('Profiler.takePreciseCoverage', (error, coverage) => {
      if (error !== null) throw error
      taken = coverage
    })
    return taken
  }
}
