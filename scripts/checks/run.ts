import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { stripTypes } from './strip-types.ts'

/** One part of the whole check. `counts` reads how many tests a part ran; without it a part counts as one. */
interface Step {
  readonly name: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly counts?: (output: string) => Counts | undefined
}

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** How many of the slowest test files are named. */
const SLOWEST = 10

const files = process.argv.slice(2)
const root = join(import.meta.dirname, '../..')
const cache = join(root, 'node_modules/.cache/rap-tests')
const [stripped = '', unrecorded = ''] = stripTypes(
  join(cache, 'stripped'),
  ['packages', 'services', 'e2e', 'scripts'].map(folder => join(root, folder)),
  ['stripped.ts', 'unrecorded.ts'].map(file => join(import.meta.dirname, 'preload', file)),
)
const tap: Step = {
  name: 'tests',
  command: ['tap', '--reporter=tap', ...files],
  env: {
    NODE_OPTIONS: [stripped, unrecorded].map(file => `--import=${pathToFileURL(file)}`).join(' '),
    // Some hundred processes load the same modules; programs that the tests start read both of these too.
    TESTKIT_PRELOAD: pathToFileURL(stripped).href,
    NODE_COMPILE_CACHE: cache,
  },
  counts: countsOfTap,
}
const checks: Step[] = readdirSync(import.meta.dirname)
  .filter(file => file.startsWith('check-'))
  .sort()
  .map(file => ({ name: file.slice('check-'.length, -'.ts'.length), command: ['node', `scripts/checks/${file}`] }))

const steps: Step[] =
  files.length > 0
    ? [tap]
    : [
        { name: 'lint', command: ['biome', 'ci', '.'] },
        ...checks,
        { name: 'configuration docs', command: ['node', 'scripts/docs/configuration.ts', '--check'] },
        { name: 'types', command: ['turbo', 'run', 'types', '--output-logs=errors-only'] },
        { name: 'build', command: ['turbo', 'run', 'build', '--output-logs=errors-only'] },
        tap,
      ]

let passed = 0
let failed = 0
let skipped = 0
for (const step of [{ name: 'test runner', command: ['tap', 'build'] } satisfies Step, ...steps]) {
  const started = Date.now()
  const { status, output } = await run(step)
  const counts = step.counts?.(output) ?? { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: 0 }
  passed += counts.passed
  skipped += counts.skipped
  // A runner that failed without a failed test (a crash, a file that did not start) has failed all the same.
  const failures = status !== 0 && counts.failed === 0 ? 1 : counts.failed
  failed += failures
  if (failures > 0) console.log(step.counts === undefined ? output : failuresOfTap(output))
  if (step.counts !== undefined && files.length === 0) console.log(slowestOf(output))
  console.log(`${failures === 0 ? 'ok    ' : 'FAILED'} ${step.name} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed === 0 ? 0 : 1

async function run({ command, env }: Step): Promise<{ status: number; output: string }> {
  const [program, ...args] = command
  if (program === undefined) throw new TypeError('a step has a command')
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1', ...env },
  })
  const chunks: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  const status = await new Promise<number>(resolve => {
    child.on('error', () => resolve(127))
    child.on('close', code => resolve(code ?? 1))
  })
  return { status, output: Buffer.concat(chunks).toString() }
}

/** Reads the closing line of tap's own TAP output: `# { total: 4, pass: 3, fail: 1 }`. */
function countsOfTap(output: string): Counts | undefined {
  const line = output.match(/^# \{ total: .*\}$/m)?.[0]
  if (line === undefined) return undefined
  const count = (name: string): number => Number(line.match(new RegExp(`\\b${name}: (\\d+)`))?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') }
}

/** The files that took the longest, so that the suite stays quick. */
function slowestOf(output: string): string {
  const times = [...output.matchAll(/^(?:not )?ok \d+ - (\S+\.test\.ts) # time=([\d.]+)ms/gm)]
    .map(([, file, ms]) => ({ file, seconds: Number(ms) / 1000 }))
    .sort((a, b) => b.seconds - a.seconds)
  return times
    .slice(0, SLOWEST)
    .map(({ file, seconds }) => `       ${seconds.toFixed(1).padStart(6)} s  ${file}`)
    .join('\n')
}

/** The failed assertions of a TAP stream with their diagnostics, and the file each is in. */
function failuresOfTap(output: string): string {
  const lines = output.split('\n')
  const kept: string[] = []
  let diagnostic = false
  for (const line of lines) {
    if (/^\s*not ok /.test(line)) {
      kept.push(line)
      diagnostic = true
    } else if (/^\s*(ok |# Subtest)/.test(line)) {
      diagnostic = false
    } else if (diagnostic && kept.length < 2000) {
      kept.push(line)
    }
  }
  return kept.length > 0 ? kept.join('\n') : lines.slice(-80).join('\n')
}
