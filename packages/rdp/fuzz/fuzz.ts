import { mutate, type Random } from './mutate.ts'
import type { FuzzTarget } from './promise.ts'

/** An input that broke a promise. */
export interface Crash {
  readonly bytes: Uint8Array
  readonly error: unknown
}

/** Milliseconds that no input of 16 KiB takes; what takes longer could hold up a whole worker. */
const MAX_RUN_MS = 1000
const MAX_MINIMISING_RUNS = 3000
const MAX_MINIMISING_MS = 10_000

/** Runs one input; the crash if there is one. */
export function attempt({ run }: FuzzTarget, bytes: Uint8Array): Crash | undefined {
  const started = performance.now()
  try {
    run(bytes)
  } catch (error) {
    return { bytes, error }
  }
  const took = performance.now() - started
  if (took < MAX_RUN_MS) return undefined
  return { bytes, error: new Error(`took ${Math.round(took / 1000)} s`) }
}

/** Where a crash comes from, to tell two apart: what was thrown, and where. */
export function originOf({ error }: Crash): string {
  if (!(error instanceof Error)) return String(error)
  const place = error.stack?.match(/\/packages\/rdp\/(\S+?:\d+)/)?.[1] ?? ''
  return `${error.name}: ${error.message.replaceAll(/\d+/g, 'N')} at ${place}`
}

/** An input with the same origin that is as short and as plain as cutting makes it. */
export function minimise(target: FuzzTarget, crash: Crash): Crash {
  const origin = originOf(crash)
  let best = crash
  const until = performance.now() + MAX_MINIMISING_MS
  let runs = 0
  const keep = (bytes: Uint8Array): boolean => {
    if (runs++ >= MAX_MINIMISING_RUNS || performance.now() > until) return false
    const again = attempt(target, bytes)
    if (again === undefined || originOf(again) !== origin) return false
    best = again
    return true
  }
  for (let size = best.bytes.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= best.bytes.length; ) {
      const { bytes } = best
      if (!keep(new Uint8Array(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)])))) at += size
    }
  }
  for (let at = 0; at < best.bytes.length; at++) {
    if (best.bytes[at] === 0) continue
    const plain = best.bytes.slice()
    plain[at] = 0
    keep(plain)
  }
  return best
}

/** Valid input, and then `runs` inputs made of it; the first that crashes. */
export function fuzzBriefly(target: FuzzTarget, random: Random, runs: number): Crash | undefined {
  const { seeds } = target
  for (const seed of seeds) {
    const crash = attempt(target, seed)
    if (crash !== undefined) return crash
  }
  for (let run = 0; run < runs; run++) {
    const seed = seeds[random(seeds.length)] as Uint8Array
    const crash = attempt(target, mutate(seed, seeds[random(seeds.length)] as Uint8Array, random))
    if (crash !== undefined) return minimise(target, crash)
  }
  return undefined
}
