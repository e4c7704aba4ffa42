import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { TestkitError } from './errors.ts'
import { guardGroup, releaseGroup } from './guard.ts'
import { OutputLog } from './output-log.ts'
import { waitFor } from './wait-for.ts'

/** Variables of this process that a started program sees too; everything else comes from `env`. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'NODE_COMPILE_CACHE', 'TESTKIT_PRELOAD']

export interface ProcessOptions {
  /** The name in errors, default the command. */
  readonly name?: string
  readonly command: string
  readonly args?: readonly string[]
  /** Added to PATH, HOME, LANG, LC_ALL, TZ, TMPDIR, NODE_COMPILE_CACHE and TESTKIT_PRELOAD of this process; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  readonly uid?: number
  readonly gid?: number
  /** Output that says "ready", or a look from outside. Without it the program is ready once it is started. */
  readonly readyWhen?: RegExp | (() => boolean | Promise<boolean>)
  /** Milliseconds until a program that is not ready is stopped, default 60 seconds. */
  readonly readyTimeoutMs?: number
  /** Everything the program writes is appended here as well. */
  readonly logFile?: string
  /** Bytes of output kept in memory, default 8 MiB; older output is dropped. */
  readonly maxLogBytes?: number
  /** Sent by `stop`, default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals
  /** Milliseconds after which `stop` uses SIGKILL, default 5 seconds. */
  readonly stopTimeoutMs?: number
  /** Bytes for the program's standard input, which is closed after them. */
  readonly input?: string | Buffer
}

export interface ProcessExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface RunningProcess {
  readonly name: string
  readonly pid: number
  /** Settles when the program has ended; never rejects. */
  readonly exited: Promise<ProcessExit>
  isRunning(): boolean
  /** Standard output and error in order of arrival, as far as memory keeps it. */
  log(): string
  /** Waits until the output matches, also what was written before the call. */
  waitForOutput(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>
  kill(signal: NodeJS.Signals): void
  /** Ends the program and its whole process group, and waits until it is gone. */
  stop(): Promise<ProcessExit>
}

/**
 * Starts a program in its own process group, and waits until it is ready.
 *
 * Errors: ERR_TESTKIT_NOT_INSTALLED (no such program), ERR_TESTKIT_PROCESS_EXITED (it ended first),
 * ERR_TESTKIT_TIMEOUT. INVARIANT: nothing of the group is left after `stop`, after a failed start, or after
 * the end of this process, however it ends.
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const name = options.name ?? options.command
  const log = new OutputLog(options.maxLogBytes ?? 8 * 1024 * 1024)
  const child = await spawnChild(name, options)
  const pid = child.pid as number
  guardGroup(pid)
  const keep = (chunk: Buffer) => {
    log.add(chunk)
    if (options.logFile !== undefined) appendFileSync(options.logFile, chunk)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)

  let ended: ProcessExit | undefined
  const exited = new Promise<ProcessExit>(resolve => {
    child.once('exit', (code, signal) => {
      const exit = { code, signal }
      // What the leader left behind goes with it.
      signalGroup(pid, 'SIGKILL')
      releaseGroup(pid)
      // The last output is read before the end is told; a process that left the group may hold the pipe open.
      const settle = () => {
        clearTimeout(late)
        ended = exit
        resolve(exit)
      }
      const late = setTimeout(settle, 500)
      child.once('close', settle)
    })
  })

  const running: RunningProcess = {
    name,
    pid,
    exited,
    isRunning: () => ended === undefined,
    log: () => log.text(),
    async waitForOutput(pattern, timeoutMs = 30_000) {
      const found = await waitFor(() => log.text().match(pattern) ?? ended, {
        timeoutMs,
        what: `output ${pattern} of ${name}`,
      })
      if (Array.isArray(found)) return found
      throw exitedError(name, found as ProcessExit, log)
    },
    kill: signal => {
      if (ended === undefined) child.kill(signal)
    },
    async stop() {
      if (ended !== undefined) return ended
      signalGroup(pid, options.stopSignal ?? 'SIGTERM')
      const patience = new AbortController()
      const late = delay(options.stopTimeoutMs ?? 5_000, undefined, { signal: patience.signal }).catch(() => undefined)
      await Promise.race([exited, late])
      patience.abort()
      if (ended === undefined) signalGroup(pid, 'SIGKILL')
      return exited
    },
  }

  try {
    await becomeReady(running, options, log, () => ended)
  } catch (err) {
    await running.stop()
    throw err
  }
  return running
}

async function spawnChild(name: string, options: ProcessOptions): Promise<ChildProcess> {
  const env: Record<string, string> = {}
  for (const key of INHERITED) {
    const value = process.env[key]
    if (value !== undefined) env[key] = value
  }
  for (const [key, value] of Object.entries(options.env ?? {})) {
    if (value === undefined) delete env[key]
    else env[key] = value
  }
  const spawnOptions: SpawnOptions = {
    env,
    detached: true,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  }
  const args = options.args ?? []
  const preload = options.command === process.execPath ? env.TESTKIT_PRELOAD : undefined
  const child = spawn(options.command, preload ? [`--import=${preload}`, ...args] : args, spawnOptions)
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', cause => {
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
      reject(
        new TestkitError(
          missing ? 'ERR_TESTKIT_NOT_INSTALLED' : 'ERR_TESTKIT_COMMAND_FAILED',
          `${name} could not be started`,
          { what: options.command },
          { cause },
        ),
      )
    })
  })
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)
  return child
}

async function becomeReady(
  running: RunningProcess,
  options: ProcessOptions,
  log: OutputLog,
  ended: () => ProcessExit | undefined,
): Promise<void> {
  const { readyWhen } = options
  if (readyWhen === undefined) return
  const isReady = readyWhen instanceof RegExp ? () => readyWhen.test(log.text()) : readyWhen
  try {
    await waitFor(async () => ended() !== undefined || (await isReady()), {
      what: `${running.name} to be ready`,
      timeoutMs: options.readyTimeoutMs ?? 60_000,
    })
  } catch (cause) {
    if (!(cause instanceof TestkitError)) throw cause
    throw new TestkitError(cause.code, cause.message, { ...cause.facts, output: log.tail(30) }, { cause })
  }
  const exit = ended()
  if (exit !== undefined) throw exitedError(running.name, exit, log)
}

function exitedError(name: string, exit: ProcessExit, log: OutputLog): TestkitError {
  return new TestkitError('ERR_TESTKIT_PROCESS_EXITED', `${name} ended with ${exit.signal ?? exit.code}`, {
    what: name,
    exitCode: exit.code,
    signal: exit.signal,
    output: log.tail(30),
  })
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group is gone already.
  }
}
