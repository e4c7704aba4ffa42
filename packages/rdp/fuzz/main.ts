import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { DECODERS } from './decoders.ts'
import { writeRegression } from './regressions.ts'
import type { Job, Message } from './worker.ts'

/** An input that is still running after so long never ends. */
const HANG_MS = 20_000
const MAX_INPUT_BYTES = 65_536

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    decoder: { type: 'string' },
    workers: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string', default: String(Date.now() % 0x1_0000_0000) },
  },
})
const minutes = positive('minutes', values.minutes)
const count = Math.ceil(positive('workers', values.workers))
const seed = positive('seed', values.seed)
const wanted = Object.keys(DECODERS).filter(
  name => values.decoder === undefined || name === values.decoder || name.startsWith(`${values.decoder}/`),
)
if (wanted.length === 0) fail(`no decoder is called ${values.decoder}; there are: ${Object.keys(DECODERS).join(', ')}`)

say(`${wanted.length} decoders, ${minutes} minutes, ${count} workers, --seed ${seed}`)
let crashes = 0
// With one decoder all workers look at it, each with randomness of its own; with many each takes its share.
const shares = Array.from({ length: count }, (_, index) =>
  wanted.length < count ? wanted : wanted.filter((_, at) => at % count === index),
)
await Promise.all(shares.map((names, index) => work(names, seed + index)))
say(crashes === 0 ? 'no crash' : `${crashes} crashes, each in packages/rdp/fuzz/regressions`)
process.exitCode = crashes === 0 ? 0 : 1

function work(names: readonly string[], seed: number): Promise<void> {
  const current = new SharedArrayBuffer(8 + MAX_INPUT_BYTES)
  const job: Job = { names, seed, millisecondsEach: (minutes * 60_000) / names.length, current }
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: job })
  const counters = new Int32Array(current, 0, 2)
  let name = names[0] ?? ''
  return new Promise((resolve, reject) => {
    let seen = -1
    const watch = setInterval(() => {
      const run = Atomics.load(counters, 0)
      if (run === seen) {
        crashed(name, new Uint8Array(current.slice(8, 8 + Atomics.load(counters, 1))), 'does not end')
        void worker.terminate()
      }
      seen = run
    }, HANG_MS)
    worker.on('message', (message: Message) => {
      ;({ name } = message)
      if (message.type === 'crash') crashed(name, message.bytes, message.origin)
      if (message.type === 'done') say(`${name}: ${message.runs} runs, ${message.corpus} that reached new code`)
    })
    worker.on('error', reject)
    worker.on('exit', () => {
      clearInterval(watch)
      resolve()
    })
  })
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function crashed(name: string, bytes: Uint8Array, origin: string): void {
  crashes++
  say(`CRASH ${name}: ${origin}\n      ${writeRegression(name, bytes)}`)
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) fail(`--${option} is a number above 0`)
  return value
}

function fail(message: string): never {
  process.stderr.write(`error: ${message}\n`)
  process.exit(64)
}
