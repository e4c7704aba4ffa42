import { parentPort, workerData } from 'node:worker_threads'
import { DECODERS } from './decoders.ts'
import { explore } from './explore.ts'
import { minimise, originOf } from './fuzz.ts'
import { randomOf } from './mutate.ts'
import type { FuzzTarget } from './promise.ts'

/** What one worker does. */
export interface Job {
  readonly names: readonly string[]
  readonly seed: number
  readonly millisecondsEach: number
  /** The number of the run (4 bytes), the size of its input (4), the input. */
  readonly current: SharedArrayBuffer
}

export type Message =
  | { readonly type: 'decoder'; readonly name: string }
  | { readonly type: 'crash'; readonly name: string; readonly bytes: Uint8Array; readonly origin: string }
  | { readonly type: 'done'; readonly name: string; readonly runs: number; readonly corpus: number }

const { names, seed, millisecondsEach, current } = workerData as Job
const counters = new Int32Array(current, 0, 2)
const input = new Uint8Array(current, 8)
const tell = (message: Message) => parentPort?.postMessage(message)
const random = randomOf(seed)

for (const name of names) {
  const target = DECODERS[name] as FuzzTarget
  tell({ type: 'decoder', name })
  const explored = explore({
    target,
    random,
    until: performance.now() + millisecondsEach,
    onInput: bytes => {
      input.set(bytes.subarray(0, input.length))
      Atomics.store(counters, 1, bytes.length)
      Atomics.add(counters, 0, 1)
    },
    onCrash: crash => {
      const smallest = minimise(target, crash)
      tell({ type: 'crash', name, bytes: smallest.bytes, origin: originOf(smallest) })
    },
  })
  tell({ type: 'done', name, ...explored })
}
